"""A value baseline per token that is read from the entropy trajectory of its response.

Ours, not a paper's. Legend: T tokens, R responses, P positions, F = 7 features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.advantage import DIVISORS, AdvantageKind, Centred, centre
from espo_core.objectives.segments import (
    segment_position,
    segment_running_max,
    segment_running_sum,
    segment_size,
)

FEATURES = 7
POSITIONS = 64
"""Positions with weights of their own; later tokens share the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryBaseline:
    """Â_t = (R − V_t) (n − 1)/n / divisor with V_t = m + w_t · φ_t, held between the rewards seen so far.

    m is the leave-one-out mean of the n verified rewards of the group, w_t the ridge regression of R − m on
    φ_t at the same position over past batches, of which each is worth `decay` of the next, and
    φ_t = [1, 2 (m − ½), H_t, log p_{t−1}, Σ_{u<t} log p_u, Σ_{u<t} H_u, max_{u<t} H_u] under the old policy.
    V_t knows only what came before token t and past batches, so it adds no bias on-policy. Before the first
    batch w is 0 and Â_t is the response's advantage. Groups without contrast keep advantage 0.
    """

    kind: AdvantageKind
    """What the advantage is divided by."""
    decay: float
    ridge: float
    """Strength of the shrinkage, in rows of average size at each position."""
    covariance: Tensor
    """[P, F, F] float64 decayed Σ φ φᵀ."""
    moment: Tensor
    """[P, F] float64 decayed Σ φ (R − m)."""
    count: Tensor
    """[P] float64 decayed number of rows."""
    bounds: Tensor
    """[2] float64 smallest and largest reward seen, at first 0 and 1."""
    requires: ClassVar[frozenset[str]] = frozenset({"reward", "group"})

    def __call__(self, batch: TokenBatch) -> Tensor:
        centred = centre(*batch.outcomes())
        base = _leave_one_out_mean(centred)
        low, high = self.bounds.to(base.device, base.dtype)
        value = (batch.per_token(base) + self._correction(batch, base)).clamp(low, high)
        scale = _shrinkage(centred) / DIVISORS[self.kind](centred) * _has_contrast(centred)
        return (batch.per_token(centred.reward) - value) * batch.per_token(scale)

    def observed(self, batch: TokenBatch) -> TrajectoryBaseline:
        """The baseline for the next rollout batch."""
        centred = centre(*batch.outcomes())
        base = _leave_one_out_mean(centred)
        told = batch.per_token(_has_contrast(centred))
        residual = batch.per_token((centred.reward - base).to(torch.float64))[told]
        rows, place = _features(batch, base)[told], _place(batch)[told]
        covariance = rows.new_zeros(POSITIONS, FEATURES, FEATURES)
        for feature in range(FEATURES):
            covariance[:, feature].index_add_(0, place, rows * rows[:, feature, None])
        moment = rows.new_zeros(POSITIONS, FEATURES).index_add(0, place, rows * residual[:, None])
        count = rows.new_zeros(POSITIONS).index_add(0, place, torch.ones_like(residual))
        return replace(
            self,
            covariance=self._faded(self.covariance, covariance),
            moment=self._faded(self.moment, moment),
            count=self._faded(self.count, count),
            bounds=self._widened(centred.reward),
        )

    def _faded(self, old: Tensor, new: Tensor) -> Tensor:
        return self.decay * old.to(new.device) + new

    def _widened(self, reward: Tensor) -> Tensor:
        low, high = reward.double().aminmax()
        old = self.bounds.to(reward.device)
        return torch.stack((old[0].minimum(low), old[1].maximum(high)))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            "covariance": self.covariance,
            "moment": self.moment,
            "count": self.count,
            "bounds": self.bounds,
        }

    def restored(self, state: Mapping[str, Tensor]) -> TrajectoryBaseline:
        """The baseline as it was when the state was kept."""
        return replace(
            self,
            covariance=state["covariance"],
            moment=state["moment"],
            count=state["count"],
            bounds=state["bounds"],
        )

    def _correction(self, batch: TokenBatch, base: Tensor) -> Tensor:
        """[T] w · φ in the dtype of the batch."""
        weights = self._weights().to(base.device)
        rows = _features(batch, base)
        return (weights[_place(batch)] * rows).sum(1).to(base.dtype)

    def _weights(self) -> Tensor:
        """[P, F] the ridge regression; 0 where no row was seen."""
        size = self.covariance.diagonal(dim1=1, dim2=2)
        penalty = self.ridge * size / self.count.clamp(min=1)[:, None]
        # A feature that is always 0 at a position, as a sum over nothing, would make the matrix singular.
        weights: Tensor = torch.linalg.solve(self.covariance + torch.diag_embed(penalty + 1e-9), self.moment)
        return weights


def new_trajectory_baseline(
    *, kind: AdvantageKind, decay: float = 0.9, ridge: float = 30.0
) -> TrajectoryBaseline:
    """The baseline that has seen no batch."""
    return TrajectoryBaseline(
        kind=kind,
        decay=decay,
        ridge=ridge,
        covariance=torch.zeros(POSITIONS, FEATURES, FEATURES, dtype=torch.float64),
        moment=torch.zeros(POSITIONS, FEATURES, dtype=torch.float64),
        count=torch.zeros(POSITIONS, dtype=torch.float64),
        bounds=torch.tensor([0.0, 1.0], dtype=torch.float64),
    )


def _features(batch: TokenBatch, base: Tensor) -> Tensor:
    """[T, F] float64 φ."""
    logp, entropy = batch.logp_old.double(), batch.entropy_old.double()
    of, count = batch.response, batch.responses
    is_first = _position(batch) == 0
    return torch.stack(
        (
            torch.ones_like(logp),
            2 * (batch.per_token(base.double()) - 0.5),
            entropy,
            logp.roll(1).masked_fill(is_first, 0.0),
            segment_running_sum(logp, segment=of, segments=count),
            segment_running_sum(entropy, segment=of, segments=count),
            segment_running_max(entropy, segment=of, segments=count).masked_fill(is_first, 0.0),
        ),
        dim=1,
    )


def _position(batch: TokenBatch) -> Tensor:
    return segment_position(batch.response, segments=batch.responses)


def _place(batch: TokenBatch) -> Tensor:
    """[T] the position whose weights a token uses."""
    return _position(batch).clamp(max=POSITIONS - 1)


def _leave_one_out_mean(centred: Centred) -> Tensor:
    """[R] m = R − (R − mean_𝒢) n/(n−1); 0 where there is no other."""
    n = centred.size[centred.group]
    alone = n < 2
    return (centred.reward - centred.deviation * n / (n - 1).clamp(min=1)).masked_fill(alone, 0.0)


def _shrinkage(centred: Centred) -> Tensor:
    n = centred.size[centred.group]
    return (n - 1).clamp(min=0) / n.clamp(min=1)


def _has_contrast(centred: Centred) -> Tensor:
    """[R] bool, verified and in a group whose rewards differ."""
    moved = segment_size(centred.group[centred.deviation != 0], segments=len(centred.size))
    return (moved > 0)[centred.group] & (centred.verified > 0)
