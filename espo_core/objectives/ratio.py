"""Importance ratios of the policy to the old policy, one per token [T], and what carries their gradient.

ℓ_t = log π_θ(y_t) − log π_old(y_t), τ the unit of token t, s_τ = exp((1/|τ|) Σ_{t∈τ} ℓ_t) its geometric mean,
sg[·] stop-gradient. A ratio part maps (batch, units) to `Ratio`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from espo_core.batch import TokenBatch
from espo_core.objectives.segments import segment_mean
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ratio:
    """The ratio of each token, and which tokens a gate has cut off from it."""

    value: Tensor
    """[T] carries the gradient."""
    removed_low: Tensor | None = None
    """[T] bool, gradient removed inside the ratio because the token's own is too small."""
    removed_high: Tensor | None = None
    """[T] bool, gradient removed inside the ratio because the token's own is too large."""


RatioPart = Callable[[TokenBatch, Units], Ratio]
GatePart = Callable[[TokenBatch, Tensor], Tensor]
"""Maps (batch, ℓ [T]) to what takes the place of ℓ [T] in the geometric mean."""


def token_ratio(batch: TokenBatch, units: Units) -> Ratio:
    """r_t = exp(ℓ_t) of each token by itself, arXiv:2402.03300v3, Eq. (3)."""
    return Ratio(value=log_ratio(batch).exp())


def geometric_mean(batch: TokenBatch, units: Units) -> Ratio:
    """s_τ, whose gradient flows through the mean, arXiv:2507.18071v2, Eq. (7)."""
    return Ratio(value=_exp_of_mean(log_ratio(batch), units))


def carried_by_current(batch: TokenBatch, units: Units) -> Ratio:
    """sg[s_τ] π_θ / sg[π_θ]: value s_τ, gradient s_τ ∇log π_θ, arXiv:2507.18071v2, Eq. (14)."""
    one = 1 + (batch.logp - batch.logp.detach())  # π_θ / sg[π_θ], in value and first derivative
    return Ratio(value=_exp_of_mean(log_ratio(batch).detach(), units) * one)


def carried_by_old(batch: TokenBatch, units: Units) -> Ratio:
    """sg[s_τ] π_θ / π_old: the value s_τ r_t, arXiv:2512.00499v2, Eq. (9) as printed."""
    log = log_ratio(batch)
    return Ratio(value=_exp_of_mean(log.detach(), units) * log.exp())


CARRIERS: Mapping[str, RatioPart] = {"current": carried_by_current, "old": carried_by_old}
"""By denominator of the token ratio, arXiv:2512.00499v2, Eq. (9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedMean:
    """exp of the mean of ℓ clipped on the side where it would earn more, arXiv:2507.20673v3.

    min(ℓ, b) where Â > 0 and max(ℓ, −b) where Â < 0; a clipped token keeps its place in the mean.
    """

    log_bound: float
    """b."""

    def __call__(self, batch: TokenBatch, units: Units) -> Ratio:
        log, advantage = log_ratio(batch), batch.token_advantage
        removed_low = (advantage < 0) & (log < -self.log_bound)
        removed_high = (advantage > 0) & (log > self.log_bound)
        clipped = log.clamp(-self.log_bound, self.log_bound)
        gated = torch.where(removed_low | removed_high, clipped, log)
        value = _exp_of_mean(gated, units)
        return Ratio(value=value, removed_low=removed_low, removed_high=removed_high)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedMean:
    """exp of the mean of g(ℓ): a soft gate on each token before the geometric mean, arXiv:2602.19327v3."""

    gate: GatePart
    """g."""

    def __call__(self, batch: TokenBatch, units: Units) -> Ratio:
        return Ratio(value=_exp_of_mean(self.gate(batch, log_ratio(batch)), units))


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmoidGate:
    """g(ℓ) = log[(4/τ) σ(τ(r − 1))]: exp(g) has slope 1 at r = 1 and flattens as r grows.

    exp(g) is 2/τ at r = 1, so the response's ratio is not 1 there; its gradient is that of log π.
    """

    temperature_positive: float
    """τ where Â > 0."""
    temperature_negative: float
    """τ elsewhere."""

    def __call__(self, batch: TokenBatch, log: Tensor) -> Tensor:
        tau = torch.full_like(log, self.temperature_negative)
        tau = tau.masked_fill(batch.token_advantage > 0, self.temperature_positive)
        return logsigmoid(tau * torch.expm1(log)) + (4 / tau).log()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArctanGate:
    """g(ℓ) = arctan(κ ℓ) / κ: 0 at ℓ = 0 with slope 1, bounded by π/2κ on both sides."""

    kappa: float
    """κ."""

    def __call__(self, batch: TokenBatch, log: Tensor) -> Tensor:
        return (self.kappa * log).arctan() / self.kappa


def log_ratio(batch: TokenBatch) -> Tensor:
    """[T] ℓ_t."""
    return batch.logp - batch.logp_old


def _exp_of_mean(log: Tensor, units: Units) -> Tensor:
    """[T] exp of the mean of `log` [T] over each token's unit."""
    return units.per_token(segment_mean(log, segment=units.index, size=units.size).exp())
