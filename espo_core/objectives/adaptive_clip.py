"""Trust regions whose bounds the batch itself sets: by entropy, by outcome, or by a search.

Legend: T tokens, R responses, U units.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.errors import ConfigError
from espo_core.objectives.diagnostics import mean_of, means_by_level
from espo_core.objectives.segments import segment_mean
from espo_core.objectives.trust_region import Surrogate, ppo_min
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyAdaptiveClip:
    """PPO-min with ε_τ = max(ε_min, α / log V · mean_{t∈τ} e_t) for each unit, arXiv:2512.00499v2, Eq. (8).

    e_t is the old policy's entropy in nats, so ε_τ ≤ α. We read the printed e_t/|τ|, which lacks its sum, as
    the mean. Reports `epsilon_mean/k` for entropy level k, 0 the lowest.
    """

    alpha: float
    epsilon_min: float

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        entropy = segment_mean(batch.entropy_old, segment=units.index, size=units.size)
        epsilon = (self.alpha / math.log(batch.vocab_size) * entropy).clamp(min=self.epsilon_min)
        bound = units.per_token(epsilon)
        diagnostics = means_by_level("epsilon_mean", epsilon, units)
        return ppo_min(batch, ratio, low=1 - bound, high=1 + bound, diagnostics=diagnostics)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticClip:
    """PPO-min with ε_i = ε_0 (1 + λ_micro tanh|Â_i|) (1 + λ_macro 4 p̄ (1 − p̄)), arXiv:2601.03723v1.

    p̄ is the mean reward of the verified responses to the same prompt, held inside [0, 1]: responses that
    stand out, and prompts that are neither easy nor hopeless, may move further. The paper's form is not
    verified; tanh is our choice of a bounded increasing function. Reports `epsilon_mean`.
    """

    epsilon: float
    """ε_0."""
    micro: float
    """λ_micro."""
    macro: float
    """λ_macro."""
    requires: ClassVar[frozenset[str]] = frozenset({"reward", "group"})

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        assert batch.group_mean is not None  # noqa: S101  Objective.prepare fills it from what is required
        success = batch.group_mean.clamp(0, 1)
        elastic = 1 + self.macro * 4 * success * (1 - success)
        epsilon = self.epsilon * (1 + self.micro * batch.token_advantage.abs().tanh())
        bound = epsilon * batch.per_token(elastic)
        return ppo_min(
            batch, ratio, low=1 - bound, high=1 + bound, diagnostics={"epsilon_mean": mean_of(bound)}
        )


@runtime_checkable
class SearchedTrustRegion(Protocol):
    """A trust region that looks at a whole mini-batch before it bounds any of its tokens."""

    def fit(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Self:
        """The part with its bounds settled on this batch."""
        ...

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        """The surrogate, after a search on this batch alone where none was done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancedClip:
    """PPO-min on [c_low, c_high], widened until good tokens weigh enough, arXiv:2510.18927v1, Algorithm 1.

    From (low_start, high_start), c_high rises to high_end and then c_low to low_end (or the other way round)
    while ρ = Σ_{Â>0} m / Σ m < positive_share, where m is |min(r Â, clip(r, c_low, c_high) Â)|, or with
    `gradient` |r Â| of the tokens that keep their gradient. Reports `bound_low` and `bound_high`.
    """

    low_start: float
    low_end: float
    low_step: float
    high_start: float
    high_end: float
    high_step: float
    positive_share: float
    """ρ_0."""
    measure: Literal["value", "gradient"]
    order: Literal["high_first", "low_first"]
    settled: tuple[float, float] | None = None
    """(c_low, c_high) once found."""

    def __post_init__(self) -> None:
        if self.low_end < self.low_start or self.high_end < self.high_start:
            raise ConfigError("the search for bounds must end where it starts or above: check *_start, *_end")

    def fit(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Self:
        """The clip with the first bounds that balance the batch, or the last that were tried."""
        low, high = self.low_start, self.high_start
        for low, high in self._candidates():
            if self._share(batch, ratio.detach(), low=low, high=high) >= self.positive_share:
                break
        return replace(self, settled=(low, high))

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        low, high = self.settled or self._settled(batch, units, ratio)
        one = torch.ones_like(ratio)
        diagnostics = {"bound_low": mean_of(low * one), "bound_high": mean_of(high * one)}
        return ppo_min(batch, ratio, low=low, high=high, diagnostics=diagnostics)

    def _settled(self, batch: TokenBatch, units: Units, ratio: Tensor) -> tuple[float, float]:
        settled = self.fit(batch, units, ratio).settled
        assert settled is not None  # noqa: S101  fit has just set it
        return settled

    def _candidates(self) -> Iterator[tuple[float, float]]:
        lows = list(_steps(self.low_start, self.low_end, self.low_step))
        highs = list(_steps(self.high_start, self.high_end, self.high_step))
        if self.order == "high_first":
            yield from ((lows[0], high) for high in highs)
            yield from ((low, highs[-1]) for low in lows[1:])
        else:
            yield from ((low, highs[0]) for low in lows)
            yield from ((lows[-1], high) for high in highs[1:])

    def _share(self, batch: TokenBatch, ratio: Tensor, *, low: float, high: float) -> float:
        """ρ; 1 where no token has weight, for then there is nothing to balance."""
        surrogate = ppo_min(batch, ratio, low=low, high=high)
        magnitude = batch.by_importance(surrogate.value.abs()) * batch.token_weight
        if self.measure == "gradient":
            removed = surrogate.removed_low | surrogate.removed_high
            magnitude = magnitude.masked_fill(removed, 0.0)
        total = float(magnitude.sum())
        return float((magnitude * (batch.token_advantage > 0)).sum()) / total if total else 1.0


def _steps(start: float, end: float, step: float) -> Iterator[float]:
    """Yields start, start + step, … and at last end."""
    count = math.ceil(round((end - start) / step, 9))
    yield from (start + index * step for index in range(count))
    yield end
