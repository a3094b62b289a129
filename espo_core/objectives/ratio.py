"""Importance ratios of the policy to the old policy, one per token [T], and what carries their gradient.

ℓ_t = log π_θ(y_t) − log π_old(y_t), τ the unit of token t, s_τ = exp((1/|τ|) Σ_{t∈τ} ℓ_t) its geometric mean,
sg[·] stop-gradient. A ratio part maps (batch, units) to the ratios.
"""

from collections.abc import Callable

from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.segments import segment_mean
from espo_core.objectives.units import Units

RatioPart = Callable[[TokenBatch, Units], Tensor]


def token_ratio(batch: TokenBatch, units: Units) -> Tensor:
    """[T] r_t = exp(ℓ_t) of each token by itself, arXiv:2402.03300v3, Eq. (3)."""
    return log_ratio(batch).exp()


def geometric_mean(batch: TokenBatch, units: Units) -> Tensor:
    """[T] s_τ, whose gradient flows through the mean, arXiv:2507.18071v2, Eq. (7)."""
    return _mean_log_ratio(batch, units).exp()[units.index]


def carried_by_current(batch: TokenBatch, units: Units) -> Tensor:
    """[T] sg[s_τ] π_θ / sg[π_θ]: value s_τ, gradient s_τ ∇log π_θ, arXiv:2507.18071v2, Eq. (14)."""
    one = (batch.logp - batch.logp.detach()).exp()
    return geometric_mean(batch, units).detach() * one


def carried_by_old(batch: TokenBatch, units: Units) -> Tensor:
    """[T] sg[s_τ] π_θ / π_old: the value s_τ r_t, arXiv:2512.00499v2, Eq. (9) as printed."""
    return geometric_mean(batch, units).detach() * log_ratio(batch).exp()


def log_ratio(batch: TokenBatch) -> Tensor:
    """[T] ℓ_t."""
    return batch.logp - batch.logp_old


def _mean_log_ratio(batch: TokenBatch, units: Units) -> Tensor:
    return segment_mean(log_ratio(batch), segment=units.index, size=units.size)
