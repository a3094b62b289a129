"""From tokens to one scalar: the weight of each token [T] in J = Σ_t w_t · surrogate_t.

R and T count the whole mini-batch (`TokenBatch.mini_batch`), so that the gradients of micro-batches of whole
responses add up to the mini-batch's. An aggregation part maps (batch, units) to the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.segments import segment_sum
from espo_core.objectives.units import Units

AggregationPart = Callable[[TokenBatch, Units], Tensor]


def mean_over_groups(batch: TokenBatch, units: Units) -> Tensor:
    """[T] 1/R · 1/K_i · 1/|τ|, K_i the non-empty groups of response i, arXiv:2512.00499v2, Eq. (5)."""
    return _mean_over_units(batch, units, counted=units.size > 0)


def mean_over_top_group(batch: TokenBatch, units: Units) -> Tensor:
    """[T] 1/R · 1/|τ| in the group of highest entropy, 0 elsewhere: Eq. (5) with that group alone."""
    return _mean_over_units(batch, units, counted=units.level == units.levels - 1)


GROUP_MEANS = {"all": mean_over_groups, "top": mean_over_top_group}
"""By which entropy groups are trained."""


def sequence_mean(batch: TokenBatch, units: Units) -> Tensor:
    """[T] 1/R · 1/|y_i|: the mean over responses of their token-means, arXiv:2402.03300v3, Eq. (3)."""
    return batch.per_token(1 / (batch.mini_batch.responses * batch.lengths().to(batch.logp.dtype)))


def token_mean(batch: TokenBatch, units: Units) -> Tensor:
    """[T] 1/T: the mean over all tokens of the mini-batch, arXiv:2503.14476v2, Eq. (8)."""
    return batch.logp.new_full((batch.tokens,), 1 / batch.mini_batch.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSum:
    """[T] 1/(R·L): the sum over tokens by a constant length, arXiv:2503.20783v2, Section 3.2."""

    length: int
    """L, usually the bound on a response's tokens."""

    def __call__(self, batch: TokenBatch, units: Units) -> Tensor:
        return batch.logp.new_full((batch.tokens,), 1 / (batch.mini_batch.responses * self.length))


def _mean_over_units(batch: TokenBatch, units: Units, *, counted: Tensor) -> Tensor:
    counted = counted.to(batch.logp.dtype)
    units_of_response = segment_sum(counted, segment=units.response, segments=batch.responses).clamp(min=1)
    share = units_of_response[units.response] * units.size.clamp(min=1) * batch.mini_batch.responses
    return units.per_token(counted / share)
