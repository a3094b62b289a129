"""What a sampling engine takes and gives.

Legend: T tokens, R responses, G responses a prompt. Response r answers prompt r // G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

Tokens = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    responses: int
    """G."""
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    is_greedy: bool = False
    """Always the likeliest token."""
    min_new_tokens: int = 0
    """Tokens that a response has at least."""
    stop: tuple[str, ...] = ()
    """Strings that end a response, which keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """Responses packed end to end, with what their sampling gave at no further cost.

    A response's last token is the end-of-sequence token, unless it was truncated.
    """

    tokens: Tensor
    """[T] int64."""
    logp: Tensor
    """[T] log-probability under the tempered policy, over the full vocabulary whatever top-p and top-k."""
    entropy: Tensor
    """[T] entropy in nats of the tempered policy before each token."""
    lengths: Tensor
    """[R] int64 tokens of each response, at least 1."""
    is_truncated: Tensor
    """[R] bool: it reached the limit without an end."""

    def split(self) -> list[list[int]]:
        """The tokens of each response."""
        tokens, ends = self.tokens.tolist(), self.lengths.cumsum(0).tolist()
        return [tokens[start:end] for start, end in pairwise([0, *ends])]

    def select(self, is_kept: Tensor) -> Rollout:
        """Some of the responses ([R] bool), in their order."""
        is_mine = is_kept.repeat_interleave(self.lengths)
        return Rollout(
            tokens=self.tokens[is_mine],
            logp=self.logp[is_mine],
            entropy=self.entropy[is_mine],
            lengths=self.lengths[is_kept],
            is_truncated=self.is_truncated[is_kept],
        )

    @staticmethod
    def empty(device: torch.device) -> Rollout:
        """No response."""
        floats, whole = torch.zeros(0, device=device), torch.zeros(0, dtype=torch.int64, device=device)
        return Rollout(
            tokens=whole, logp=floats, entropy=floats, lengths=whole, is_truncated=whole.to(torch.bool)
        )

    @staticmethod
    def joined(parts: Sequence[Rollout]) -> Rollout:
        """One rollout of several, in their order."""
        return Rollout(
            tokens=torch.cat([part.tokens for part in parts]),
            logp=torch.cat([part.logp for part in parts]),
            entropy=torch.cat([part.entropy for part in parts]),
            lengths=torch.cat([part.lengths for part in parts]),
            is_truncated=torch.cat([part.is_truncated for part in parts]),
        )


class RolloutEngine(Protocol):
    """Samples responses."""

    def generate(
        self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int, first: int = 0
    ) -> Rollout:
        """G responses to each prompt; the same for the same seed, whatever else is decoded beside them.

        Args:
            first: number of the first response, where these are a part of all that the seed is for.
        """
        ...
