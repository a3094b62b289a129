"""An entropy bonus whose strength follows the entropy that is left.

Legend: T tokens, R responses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.diagnostics import mean_of
from espo_core.objectives.regularizer import Penalty
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveEntropyBonus:
    """−α_k λ(q) H_t, a penalty below zero, with λ(q) = (ρ − p̄)_+, arXiv:2510.10959v3.

    p̄ is the mean reward of the verified responses to the prompt, so that hard prompts explore more. After
    rollout batch k of mean token entropy H_k, α_{k+1} = max(0, α_k + η (H* − H_k)) with H* = a fraction of
    H_1. Reports `entropy_coefficient`.
    """

    coefficient: float
    """α_k."""
    rate: float
    """η, by nat."""
    target_fraction: float
    """H* / H_1."""
    difficulty: float
    """ρ: prompts whose mean reward is above it get no bonus."""
    target: float = math.nan
    """H*, known once a batch was observed."""
    requires: ClassVar[frozenset[str]] = frozenset({"entropy", "reward", "group"})

    def __call__(self, batch: TokenBatch, units: Units) -> Penalty:
        assert batch.entropy is not None  # noqa: S101  Objective has checked what its parts require
        assert batch.group_mean is not None  # noqa: S101  Objective.prepare fills it
        hardness = (self.difficulty - batch.group_mean.clamp(0, 1)).clamp(min=0)
        strength = torch.full_like(batch.entropy_old, self.coefficient)
        return Penalty(
            value=-self.coefficient * batch.per_token(hardness) * batch.entropy,
            diagnostics={"entropy_coefficient": mean_of(strength)},
        )

    def observed(self, batch: TokenBatch) -> AdaptiveEntropyBonus:
        """The bonus for the next rollout batch."""
        entropy = float(batch.entropy_old.mean())
        target = self.target_fraction * entropy if math.isnan(self.target) else self.target
        coefficient = max(0.0, self.coefficient + self.rate * (target - entropy))
        return replace(self, coefficient=coefficient, target=target)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: coefficient and target, [] each."""
        kept = {"coefficient": self.coefficient, "target": self.target}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in kept.items()}

    def restored(self, state: Mapping[str, Tensor]) -> AdaptiveEntropyBonus:
        """The bonus as it was when the state was kept."""
        return replace(self, **{name: float(value) for name, value in state.items()})
