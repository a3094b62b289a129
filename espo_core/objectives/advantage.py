"""Rewards to one advantage per response.

Legend: R responses, 𝒢 the verified responses of one prompt group, n = |𝒢|.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from espo_core.errors import ConfigError, VerifierError, unknown_name
from espo_core.objectives.segments import segment_min, segment_size, segment_sum

AdvantageKind = Literal["zscore", "centred", "leave_one_out", "batch_std"]

STD_DELTA = 1e-6
"""δ of R̃ / (std + δ): keeps the quotient finite where rewards are almost equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Centred:
    """R − mean_𝒢 over the verified responses of a batch, and what it takes to scale it."""

    deviation: Tensor  # [R], exactly 0 for the unverified and where all of 𝒢 are equal
    reward: Tensor  # [R], 0 for the unverified
    verified: Tensor  # [R] 1 or 0, floating
    group: Tensor  # [R] int64, dense
    size: Tensor  # [number of groups] n, floating

    @property
    def std(self) -> Tensor:
        """[number of groups] unbiased standard deviation; 0 for one reward or equal ones."""
        squares = segment_sum(self.deviation**2, segment=self.group, segments=len(self.size))
        return (squares / (self.size - 1).clamp(min=1)).sqrt()

    @property
    def mean(self) -> Tensor:
        """[number of groups] mean_𝒢; 0 where nothing was verified."""
        total = segment_sum(self.reward, segment=self.group, segments=len(self.size))
        return total / self.size.clamp(min=1)


def advantages(rewards: Tensor, verified: Tensor, group: Tensor, kind: AdvantageKind = "zscore") -> Tensor:
    """[R] advantage of each response, 0 for the unverified and for groups without contrast; never NaN.

    - zscore: (R − mean_𝒢) / (std_𝒢 + δ), arXiv:2512.00499v2, Eq. (11); std unbiased, δ = 1e-6
    - centred: R − mean_𝒢, arXiv:2503.20783v2
    - leave_one_out: R − mean of the others in 𝒢, arXiv:2402.14740v2
    - batch_std: (R − mean_𝒢) / (std of all verified rewards + δ), arXiv:2508.08221v1

    Args:
        rewards: [R] float32 or float64; values of unverified responses are not read.
        verified: [R] bool, true where the verifier ran to a verdict.
        group: [R] int64 prompt group of each response, any ids.
        kind: which of the four.

    Raises:
        ConfigError: a wrong shape, dtype or kind.
        VerifierError: the reward of a verified response is NaN or infinite.
    """
    if kind not in DIVISORS:
        raise unknown_name(kind="advantage", name=kind, valid=DIVISORS)
    centred = centre(rewards, verified, group)
    return centred.deviation / DIVISORS[kind](centred)


def _check(rewards: Tensor, verified: Tensor, group: Tensor) -> None:
    if rewards.ndim != 1 or not rewards.is_floating_point():
        raise ConfigError(
            f"rewards must be a 1-D floating tensor, not {rewards.dtype} {tuple(rewards.shape)}"
        )
    if verified.shape != rewards.shape or verified.dtype != torch.bool:
        raise ConfigError(f"verified must be bool with the shape of rewards, {tuple(rewards.shape)}")
    if group.shape != rewards.shape or group.dtype != torch.int64:
        raise ConfigError(f"group must be int64 with the shape of rewards, {tuple(rewards.shape)}")
    bad = (verified & ~rewards.isfinite()).nonzero()
    if len(bad):
        raise VerifierError(f"the reward of response {int(bad[0])} is not a finite number")


def centre(rewards: Tensor, verified: Tensor, group: Tensor) -> Centred:
    """The rewards around their groups' means; arguments and errors as in `advantages`."""
    _check(rewards, verified, group)
    dense = torch.unique(group, return_inverse=True)[1]
    groups = int(dense.max()) + 1 if len(dense) else 0
    lowest = segment_min(rewards.where(verified, torch.inf), segment=dense, segments=groups)[dense]
    # Measured from the group's lowest reward, equal rewards centre to exactly 0 and not to a rounding error
    # that a division by δ would blow up.
    above = (rewards - lowest).where(verified, 0.0)
    size = segment_size(dense[verified], segments=groups).to(rewards.dtype)
    mean = segment_sum(above, segment=dense, segments=groups) / size.clamp(min=1)
    return Centred(
        deviation=(above - mean[dense]).where(verified, 0.0),
        reward=rewards.where(verified, 0.0),
        verified=verified.to(rewards.dtype),
        group=dense,
        size=size,
    )


def _zscore(centred: Centred) -> Tensor:
    return centred.std[centred.group] + STD_DELTA


def _centred(centred: Centred) -> Tensor:
    return torch.ones_like(centred.deviation)


def _leave_one_out(centred: Centred) -> Tensor:
    n = centred.size[centred.group]
    return torch.where(n > 1, (n - 1) / n, 1.0)


def _batch_std(centred: Centred) -> Tensor:
    n = centred.verified.sum()
    deviation = (centred.reward - centred.reward.sum() / n.clamp(min=1)) * centred.verified
    std = ((deviation**2).sum() / (n - 1).clamp(min=1)).sqrt()
    return (std + STD_DELTA).expand_as(centred.deviation)


DIVISORS: Mapping[str, Callable[[Centred], Tensor]] = {
    "zscore": _zscore,
    "centred": _centred,
    "leave_one_out": _leave_one_out,
    "batch_std": _batch_std,
}
"""By kind, what R − mean_𝒢 is divided by, [R]."""
