"""The partition of tokens into units, by hand and against a loop over responses."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espo_core.batch import TokenBatch
from espo_core.objectives.units import (
    EntropyGroups,
    RankingPart,
    rank_in_batch,
    rank_in_response,
    sequence_units,
    token_units,
)
from tests.espo_core.objectives.references.entropy_groups import levels_in_batch, levels_in_response
from tests.espo_core.objectives.rollouts import Response, token_batch


def batch_of(*entropies: list[float]) -> TokenBatch:
    """A batch whose responses have these entropies, token by token."""
    return token_batch([response_of(entropy) for entropy in entropies])


def response_of(entropy: list[float]) -> Response:
    flat = [-1.0] * len(entropy)
    return Response(
        logp=flat, logp_old=flat, logp_ref=flat, entropy=entropy, entropy_now=entropy, advantage=1.0
    )


def levels(batch: TokenBatch, *quantiles: float, ranking: RankingPart = rank_in_response) -> list[int]:
    """The entropy level of each token."""
    units = EntropyGroups(quantiles=quantiles, ranking=ranking)(batch)
    return units.level[units.index].tolist()


def test_top_fifth_of_five() -> None:
    assert levels(batch_of([0.1, 0.9, 0.3, 0.2, 0.0]), 0.8) == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("tokens", "top"), [(1, 1), (2, 1), (4, 1), (5, 1), (6, 2), (9, 2), (10, 2), (11, 3)]
)
def test_boundary_is_the_floor(tokens: int, top: int) -> None:
    """The lower group has ⌊0.8 n⌋ tokens, so a response of one token is all top."""
    assert sum(levels(batch_of([float(t) for t in range(tokens)]), 0.8)) == top


@pytest.mark.parametrize("quantile", [0.29, 0.57, 0.58, 0.7, 0.9])
def test_boundary_is_exact_where_the_product_is_whole(quantile: float) -> None:
    """In floating point 0.29 · 100 and 0.57 · 100 fall short of 29 and 57."""
    lower = 100 - sum(levels(batch_of([float(t) for t in range(100)]), quantile))
    assert lower == round(quantile * 100)


def test_of_equal_entropies_the_earlier_is_higher() -> None:
    assert levels(batch_of([0.5, 0.5, 0.5, 0.5, 0.5]), 0.8) == [1, 0, 0, 0, 0]
    assert levels(batch_of([0.0, 0.5, 0.5, 0.5, 0.0]), 0.4, 0.8) == [0, 2, 1, 1, 0]


def test_no_quantile_is_one_group_a_response() -> None:
    batch = batch_of([0.1, 0.2], [0.3])
    groups, sequences = EntropyGroups(quantiles=(), ranking=rank_in_response)(batch), sequence_units(batch)
    for name in ("index", "size", "response", "level", "levels"):
        assert torch.equal(*(torch.as_tensor(getattr(units, name)) for units in (groups, sequences)))
    assert groups.index.tolist() == [0, 0, 1]


def test_units_stay_inside_their_response() -> None:
    units = EntropyGroups(quantiles=(0.8,), ranking=rank_in_response)(batch_of([0.1, 0.9], [0.5], [0.2, 0.1]))
    assert units.index.tolist() == [0, 1, 3, 5, 4]
    assert units.size.tolist() == [1, 1, 0, 1, 1, 1]
    assert units.response.tolist() == [0, 0, 1, 1, 2, 2]


def test_batch_scope_compares_across_responses() -> None:
    batch = batch_of([0.1, 0.2, 0.3], [0.9, 0.8])
    assert levels(batch, 0.6, ranking=rank_in_batch) == [0, 0, 0, 1, 1]
    assert levels(batch, 0.6, ranking=rank_in_response) == [0, 1, 1, 1, 0]


def test_batch_scope_treats_tokens_equal_in_entropy_and_place_alike() -> None:
    """Four responses to one prompt share their first entropy: nothing tells those four tokens apart."""
    batch = batch_of([0.9, 0.1], [0.9, 0.2], [0.9, 0.3], [0.9, 0.4])
    assert levels(batch, 0.8, ranking=rank_in_batch) == [1, 0, 1, 0, 1, 0, 1, 0]


def test_batch_scope_puts_the_earlier_place_higher() -> None:
    assert levels(batch_of([0.5, 0.5], [0.0, 0.5]), 0.75, ranking=rank_in_batch) == [1, 0, 0, 0]


def test_levels_of_a_larger_batch_are_kept() -> None:
    batch = replace(batch_of([0.1, 0.9]), level=torch.tensor([1, 0]))
    assert levels(batch, 0.8) == [1, 0]


def test_every_token_by_itself() -> None:
    units = token_units(batch_of([0.1, 0.2], [0.3]))
    assert units.index.tolist() == [0, 1, 2]
    assert units.response.tolist() == [0, 0, 1]
    assert units.size.tolist() == [1, 1, 1]


entropies = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=12)
quantile_sets = st.lists(st.sampled_from([0.1, 0.29, 0.5, 0.57, 0.8, 0.9]), max_size=3, unique=True).map(
    sorted
)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(entropies, min_size=1, max_size=6), quantiles=quantile_sets)
def test_agrees_with_a_loop_over_responses(rows: list[list[float]], quantiles: list[float]) -> None:
    responses = [response_of(row) for row in rows]
    for ranking, loop in (
        (rank_in_response, levels_in_response),
        (rank_in_batch, levels_in_batch),
    ):
        wanted = [level for row in loop(responses, tuple(quantiles)) for level in row]
        assert levels(token_batch(responses), *quantiles, ranking=ranking) == wanted
