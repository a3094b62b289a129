"""TokenBatch: the response tokens of a batch, packed end to end without padding.

Legend: T tokens, R responses, V vocabulary.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from espo_core.errors import ConfigError

_PER_TOKEN = (
    "logp",
    "logp_old",
    "entropy_old",
    "response",
    "logp_ref",
    "entropy",
    "level",
    "credit",
    "importance",
)
_DTYPES = dict.fromkeys(("response", "group", "level"), torch.int64) | {"verified": torch.bool}
_FLOAT_DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Size of the mini-batch that one optimiser update averages over, of which a batch may be a part."""

    responses: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """T response tokens of R responses and what an objective may read about them.

    All floating tensors share one dtype (float32 or float64) and all tensors share one device. The values of
    `response` are checked on a CPU only: reading them on an accelerator would stall its queue.

    Raises:
        ConfigError: a shape, dtype, device or response id is wrong.
    """

    logp: Tensor
    """[T] log-probability of each sampled token under the policy; carries the gradient."""
    logp_old: Tensor
    """[T] the same under the old policy, which sampled it."""
    entropy_old: Tensor
    """[T] entropy in nats of the old policy over the full vocabulary at each token."""
    response: Tensor
    """[T] int64 response of each token, non-decreasing, 0 to R-1."""
    advantage: Tensor
    """[R] advantage of each response."""
    vocab_size: int
    """V, at least 2."""
    logp_ref: Tensor | None = None
    """[T] log-probability under the reference policy."""
    entropy: Tensor | None = None
    """[T] entropy of the policy in nats; carries the gradient."""
    group: Tensor | None = None
    """[R] int64 prompt group of each response."""
    reward: Tensor | None = None
    """[R] reward of each response; those of unverified responses are not read."""
    verified: Tensor | None = None
    """[R] bool, true where the verifier ran to a verdict; all did where it is missing."""
    level: Tensor | None = None
    """[T] int64 entropy level of each token, 0 the lowest; set by `Objective.prepare`."""
    credit: Tensor | None = None
    """[T] advantage of each token, where tokens of a response differ; set by `Objective.prepare`."""
    group_mean: Tensor | None = None
    """[R] mean reward of the verified responses to the same prompt; set by `Objective.prepare`."""
    weight: Tensor | None = None
    """[R] how many times a response counts, 0 or more, while the means keep their denominators; 1 where it is
    missing."""
    importance: Tensor | None = None
    """[T] weight of each token's surrogate that makes up for a sampler that is not the old policy; 1 where it
    is missing."""
    totals: Totals | None = None
    """Size of the whole mini-batch, where this batch is one micro-batch of it."""

    def __post_init__(self) -> None:
        if not isinstance(self.vocab_size, int) or self.vocab_size < 2:
            raise ConfigError(
                f"TokenBatch.vocab_size must be an integer of at least 2, not {self.vocab_size!r}"
            )
        for name, value in self._tensors().items():
            if not isinstance(value, Tensor) or value.ndim != 1:
                raise ConfigError(f"TokenBatch.{name} must be a 1-D tensor")
        for name, value in self._tensors().items():
            _check_tensor(f"TokenBatch.{name}", value, like=self.logp, length=self._length_of(name))
            _check_dtype(f"TokenBatch.{name}", value.dtype, expected=self._dtype_of(name))
        if self.tokens == 0 or self.responses == 0:
            raise ConfigError("TokenBatch holds no token")
        if self.response.device.type == "cpu":
            _check_response_ids(self.response, responses=self.responses)

    @property
    def tokens(self) -> int:
        """T."""
        return self.logp.shape[0]

    @property
    def responses(self) -> int:
        """R."""
        return self.advantage.shape[0]

    @property
    def mini_batch(self) -> Totals:
        """Size of the mini-batch to average over: `totals`, or this batch's own where none is given."""
        return self.totals or Totals(responses=self.responses, tokens=self.tokens)

    @property
    def token_advantage(self) -> Tensor:
        """[T] `credit`, or the advantage of each token's response where there is none."""
        return self.per_token(self.advantage) if self.credit is None else self.credit

    def outcomes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Reward, verified and group, [R] each.

        Raises:
            ConfigError: `reward` or `group` is missing.
        """
        if self.reward is None or self.group is None:
            raise ConfigError("this objective reads TokenBatch.reward and TokenBatch.group")
        verified = self.verified
        if verified is None:
            verified = torch.ones_like(self.group, dtype=torch.bool)
        return self.reward, verified, self.group

    @property
    def token_weight(self) -> Tensor | float:
        """[T] how many times the token's response counts."""
        return 1.0 if self.weight is None else self.per_token(self.weight)

    def by_importance(self, surrogate: Tensor) -> Tensor:
        """[T] the surrogate of each token, weighted by `importance`."""
        return surrogate if self.importance is None else surrogate * self.importance

    def lengths(self) -> Tensor:
        """[R] int64 tokens of each response."""
        # The ids are sorted, so R searches find what counting all T would.
        ids = torch.arange(self.responses + 1, device=self.response.device)
        return torch.searchsorted(self.response, ids).diff()

    def per_token(self, values: Tensor) -> Tensor:
        """[T] the value [R] of each token's response."""
        # Several times as fast as values[self.response] on a CPU, forward and backward.
        return values.index_select(0, self.response)

    def select(self, responses: Tensor) -> "TokenBatch":
        """Batch of the given responses ([K] int64, each at most once), in that order, renumbered from 0.

        `totals` is kept; set it to the selection's own size where the selection is a mini-batch.
        """
        lengths = self.lengths()
        starts = lengths.cumsum(0) - lengths
        length = lengths[responses]
        renumbered = torch.repeat_interleave(torch.arange(len(responses), device=length.device), length)
        shift = starts[responses] - (length.cumsum(0) - length)
        tokens = torch.arange(len(renumbered), device=length.device) + shift[renumbered]
        picked: dict[str, Any] = {
            name: value[tokens if name in _PER_TOKEN else responses]
            for name, value in self._tensors().items()
        }
        return replace(self, **{**picked, "response": renumbered})

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and name not in ("vocab_size", "totals")
        }

    def _dtype_of(self, name: str) -> torch.dtype:
        return _DTYPES.get(name, self.logp.dtype)

    def _length_of(self, name: str) -> tuple[str, int]:
        return ("T", len(self.logp)) if name in _PER_TOKEN else ("R", len(self.advantage))


def _check_tensor(where: str, value: Tensor, *, like: Tensor, length: tuple[str, int]) -> None:
    if value.shape[0] != length[1]:
        raise ConfigError(f"{where} must have {length[0]} = {length[1]} elements, not {value.shape[0]}")
    if value.device != like.device:
        raise ConfigError(f"{where} is on {value.device}, but logp is on {like.device}")


def _check_dtype(where: str, dtype: torch.dtype, *, expected: torch.dtype) -> None:
    if dtype != expected:
        raise ConfigError(
            f"{where} must be {expected}, not {dtype} (floating fields share the dtype of logp)"
        )
    if expected.is_floating_point and dtype not in _FLOAT_DTYPES:
        raise ConfigError(f"{where} must be float32 or float64, not {dtype}, which cannot hold a log-ratio")


def _check_response_ids(response: Tensor, *, responses: int) -> None:
    if response[0] < 0 or response[-1] >= responses or (response[1:] < response[:-1]).any():
        raise ConfigError(
            f"TokenBatch.response must be non-decreasing ids between 0 and R-1 = {responses - 1}"
        )
