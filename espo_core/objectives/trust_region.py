"""What becomes of a token's surrogate s·Â when its ratio s leaves the neighbourhood of 1.

PPO-min is min(s Â, clip(s, 1−ε_low, 1+ε_high) Â). A trust-region part maps (batch, units, ratio) to
`Surrogate`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.diagnostics import Mean
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrogate:
    """What each token adds to the objective, to be maximised, before aggregation."""

    value: Tensor
    """[T] carries the gradient."""
    removed_low: Tensor
    """[T] bool, gradient removed because the ratio is too small."""
    removed_high: Tensor
    """[T] bool, gradient removed because the ratio is too large."""
    diagnostics: Mapping[str, Mean] = field(default_factory=dict)
    """Further metrics of this part, without gradient."""


TrustRegionPart = Callable[[TokenBatch, Units, Tensor], Surrogate]

BoundT = TypeVar("BoundT", Tensor, float)


def unbounded(batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
    """s Â whatever the ratio: plain importance sampling."""
    never = torch.zeros_like(ratio, dtype=torch.bool)
    return Surrogate(value=ratio * batch.token_advantage, removed_low=never, removed_high=never)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardClip:
    """PPO-min with one pair of bounds, arXiv:2402.03300v3, Eq. (3)."""

    epsilon_low: float
    epsilon_high: float

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        return ppo_min(batch, ratio, low=1 - self.epsilon_low, high=1 + self.epsilon_high)


@dataclass(frozen=True, slots=True, kw_only=True)
class DualClip:
    """max(PPO-min, c Â) where Â < 0: a bad token's surrogate has a floor too, arXiv:1912.09729v3, Eq. (5)."""

    epsilon_low: float
    epsilon_high: float
    cap: float
    """c, more than 1 + ε_high."""

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        inner = ppo_min(batch, ratio, low=1 - self.epsilon_low, high=1 + self.epsilon_high)
        beyond = (batch.token_advantage < 0) & (ratio > self.cap)
        return Surrogate(
            value=torch.where(beyond, self.cap * batch.token_advantage, inner.value),
            removed_low=inner.removed_low,
            removed_high=inner.removed_high | beyond,
        )


def clip(epsilon_low: float, epsilon_high: float, *, cap: float | None) -> TrustRegionPart:
    """The hard clip, with the floor of the dual clip where `cap` is given."""
    if cap is None:
        return HardClip(epsilon_low=epsilon_low, epsilon_high=epsilon_high)
    return DualClip(epsilon_low=epsilon_low, epsilon_high=epsilon_high, cap=cap)


def ppo_min(
    batch: TokenBatch,
    ratio: Tensor,
    *,
    low: BoundT,
    high: BoundT,
    diagnostics: Mapping[str, Mean] | None = None,
) -> Surrogate:
    """min(s Â, clip(s, low, high) Â) for bounds [T] or one pair; at a bound itself the gradient is kept."""
    advantage, clipped = batch.token_advantage, ratio.detach().clamp(low, high)
    # Above 0 where the clip takes something from the token's surrogate. Products and not torch.where, which
    # costs ten times as much on a CPU.
    removed = (ratio.detach() - clipped) * advantage > 0
    removed_high = removed & (advantage > 0)
    kept = advantage * ~removed
    return Surrogate(
        value=ratio * kept + clipped * (advantage - kept),
        removed_low=removed & ~removed_high,
        removed_high=removed_high,
        diagnostics=diagnostics or {},
    )
