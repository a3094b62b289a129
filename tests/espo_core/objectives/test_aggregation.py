"""The weight of each token, by hand: two responses, of three tokens in two groups and of one token."""

from dataclasses import replace

import pytest
import torch

from espo_core.batch import TokenBatch, Totals
from espo_core.objectives.aggregation import (
    AggregationPart,
    TokenSum,
    mean_over_groups,
    mean_over_top_group,
    sequence_mean,
    token_mean,
)
from espo_core.objectives.units import EntropyGroups, rank_in_response


@pytest.fixture
def batch() -> TokenBatch:
    flat = torch.zeros(4, dtype=torch.float64)
    return TokenBatch(
        logp=flat,
        logp_old=flat,
        entropy_old=torch.tensor([0.9, 0.1, 0.2, 0.5], dtype=torch.float64),
        response=torch.tensor([0, 0, 0, 1]),
        advantage=flat[:2],
        vocab_size=16,
    )


WEIGHTS: list[tuple[AggregationPart, list[float]]] = [
    (mean_over_groups, [1 / 4, 1 / 8, 1 / 8, 1 / 2]),
    (mean_over_top_group, [1 / 2, 0, 0, 1 / 2]),
    (sequence_mean, [1 / 6, 1 / 6, 1 / 6, 1 / 2]),
    (token_mean, [1 / 4] * 4),
    (TokenSum(length=5), [1 / 10] * 4),
]
every_part = pytest.mark.parametrize(("part", "weights"), WEIGHTS)


@every_part
def test_weights_by_hand(batch: TokenBatch, part: AggregationPart, weights: list[float]) -> None:
    """The longer response splits 2 + 1 at the quantile 0.8, the other is one top token (K = 1)."""
    units = EntropyGroups(quantiles=(0.8,), ranking=rank_in_response)(batch)
    assert part(batch, units).tolist() == pytest.approx(weights)


@every_part
def test_weights_shrink_with_the_mini_batch(
    batch: TokenBatch, part: AggregationPart, weights: list[float]
) -> None:
    micro = replace(batch, totals=Totals(responses=6, tokens=12))
    units = EntropyGroups(quantiles=(0.8,), ranking=rank_in_response)(micro)
    assert part(micro, units).tolist() == pytest.approx([weight / 3 for weight in weights])
