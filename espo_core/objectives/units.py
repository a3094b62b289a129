"""Which tokens share one importance ratio.

Legend: T tokens, R responses, K entropy levels, U units. A units part maps a batch to `Units`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.segments import (
    floor_product,
    segment_position,
    segment_rank,
    segment_size,
    unsorted,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """A partition of the tokens into U units, some of which may be empty; no unit spans two responses."""

    index: Tensor
    """[T] int64 unit of each token."""
    size: Tensor
    """[U] int64 tokens of each unit."""
    response: Tensor
    """[U] int64 response of each unit."""
    level: Tensor
    """[U] int64 entropy level of each unit, 0 the lowest."""
    levels: int
    """K, 1 where units are not grouped by entropy."""

    def per_token(self, values: Tensor) -> Tensor:
        """[T] the value [U] of each token's unit."""
        return values.index_select(0, self.index)


UnitsPart = Callable[[TokenBatch], Units]


def token_units(batch: TokenBatch) -> Units:
    """Every token is its own unit (U = T)."""
    return Units(
        index=torch.arange(batch.tokens, device=batch.response.device),
        size=batch.response.new_ones(1).expand(batch.tokens),
        response=batch.response,
        level=batch.response.new_zeros(1).expand(batch.tokens),
        levels=1,
    )


def sequence_units(batch: TokenBatch) -> Units:
    """Every response is one unit (U = R)."""
    return Units(
        index=batch.response,
        size=batch.lengths(),
        response=torch.arange(batch.responses, device=batch.response.device),
        level=batch.response.new_zeros(1).expand(batch.responses),
        levels=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Where each token stands in the ascending order of entropy of the tokens it is compared with."""

    rank: Tensor
    """[T] int64, from 0."""
    compared: Tensor
    """[T] int64 n, the number of tokens it is compared with."""


RankingPart = Callable[[TokenBatch], Ranks]


def rank_in_response(batch: TokenBatch) -> Ranks:
    """Ranks among the tokens of the same response; of equal entropies the earlier token ranks higher."""
    rank = segment_rank(batch.entropy_old, segment=batch.response, segments=batch.responses)
    size = segment_size(batch.response, segments=batch.responses)
    return Ranks(rank=rank, compared=size[batch.response])


def rank_in_batch(batch: TokenBatch) -> Ranks:
    """Ranks among all tokens of the batch; of equal entropies the token earlier in its response ranks higher.

    Tokens equal in both (responses to one prompt share their first entropy) all take the highest rank among
    them, so that the order of the responses in the batch decides nothing.
    """
    position = segment_position(batch.response, segments=batch.responses)
    by_position = position.argsort(stable=True, descending=True)
    order = by_position[batch.entropy_old[by_position].argsort(stable=True)]
    entropy, place = batch.entropy_old[order], position[order]
    ends = torch.ones_like(order, dtype=torch.bool)
    ends[:-1] = (entropy[1:] != entropy[:-1]) | (place[1:] != place[:-1])
    own = torch.arange(batch.tokens, device=order.device)
    end_of_equals = own.where(ends, batch.tokens).flip(0).cummin(0).values.flip(0)
    rank = unsorted(end_of_equals, order)
    return Ranks(rank=rank, compared=torch.full_like(rank, batch.tokens))


RANKINGS = {"response": rank_in_response, "batch": rank_in_batch}
"""By scope, what a token's entropy is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyGroups:
    """Units of one response and one range of old-policy entropy, arXiv:2512.00499v2, Eq. (7).

    With n tokens compared, in ascending order of entropy, level k starts at rank ⌊q_k·n⌋ (U = R·K). A batch
    that carries levels keeps them, so that a micro-batch is grouped as the batch it was cut from.
    """

    quantiles: tuple[float, ...]
    """q_1 < … < q_{K-1}, each inside (0, 1)."""
    ranking: RankingPart

    def __call__(self, batch: TokenBatch) -> Units:
        level = self._levels(batch) if batch.level is None else batch.level
        return _by_level(batch, level=level, levels=len(self.quantiles) + 1)

    def _levels(self, batch: TokenBatch) -> Tensor:
        ranks = self.ranking(batch)
        level = torch.zeros_like(ranks.rank)
        for quantile in self.quantiles:
            level += ranks.rank >= floor_product(quantile, ranks.compared)
        return level


def _by_level(batch: TokenBatch, *, level: Tensor, levels: int) -> Units:
    index = batch.response * levels + level
    unit = torch.arange(batch.responses * levels, device=index.device)
    return Units(
        index=index,
        size=segment_size(index, segments=len(unit)),
        response=unit // levels,
        level=unit % levels,
        levels=levels,
    )
