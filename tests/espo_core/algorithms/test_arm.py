"""ARM, as rebuilt, by hand and against its reference."""

import math
from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.expected import Expected
from tests.espo_core.objectives.references.outcome import arm, confidence, reweighted
from tests.espo_core.objectives.rollouts import random_responses, token_batch

PARAMETERS: list[dict[str, Any]] = [
    {"epsilon_low": 0.02, "epsilon_high": 0.03},
    {"epsilon_low": 0.02, "epsilon_high": 0.03, "weight": 4.0, "least_probable": 0.6},
    {"weight": 0.0},
    {"least_probable": 1.0},
]
OUTCOMES = {"unverified", "no success", "equal rewards", "contrast"}


def test_advantages_by_hand() -> None:
    """Least probable tokens of 0.25 and 0.75: the mean is 0.5, so 2 · 0.25 goes from the sure to the unsure.

    The third response failed to be verified and the other prompt has no success: they keep what they have.
    """
    probability = torch.tensor([0.9, 0.25, 0.75, 0.99, 0.1, 0.2, 0.4], dtype=torch.float64)
    batch = TokenBatch(
        logp=probability.log(),
        logp_old=probability.log(),
        entropy_old=torch.zeros_like(probability),
        response=torch.tensor([0, 0, 1, 1, 2, 3, 4]),
        advantage=torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0], dtype=torch.float64),
        group=torch.tensor([5, 5, 5, 2, 2]),
        reward=torch.tensor([1.0, 0.0, math.nan, 0.0, 0.0], dtype=torch.float64),
        verified=torch.tensor([True, True, False, True, True]),
        vocab_size=19,
    )
    prepared = get_objective("arm", weight=2.0).prepare(batch)
    assert prepared.token_advantage.tolist() == pytest.approx([1.5, 1.5, -1.5, -1.5, 0, 0, 0], rel=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, Any]) -> None:
    assert_agrees_on_random_batches(get_objective("arm", **parameters), arm, parameters)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(arm, **PARAMETERS[0]) == CLIPPED | OUTCOMES


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.35, 0.6, 0.7, 0.9, 1.0])
def test_share_of_tokens_is_exact_where_the_product_is_whole(share: float) -> None:
    """⌈share · n⌉ tokens count: floating products such as 0.2 · 35 and 0.7 · 10 lie beside a whole number."""
    for length in (1, 3, 10, 20, 35, 60, 90, 100, 700):
        logp = -torch.arange(1, length + 1, dtype=torch.float64).log()
        batch = TokenBatch(
            logp=torch.cat((logp, logp[:1])),
            logp_old=torch.cat((logp, logp[:1])),
            entropy_old=torch.zeros(length + 1, dtype=torch.float64),
            response=torch.tensor([0] * length + [1]),
            advantage=torch.zeros(2, dtype=torch.float64),
            group=torch.zeros(2, dtype=torch.int64),
            reward=torch.ones(2, dtype=torch.float64),
            vocab_size=19,
        )
        credit = get_objective("arm", least_probable=share).prepare(batch).token_advantage[0].item()
        counted = -(-round(share * 100) * length // 100)
        own = math.exp(logp.sort().values[:counted].mean().item())
        assert credit == pytest.approx((1 - own) / 2, rel=1e-9), length


def test_confidence_moves_between_the_verified_of_a_group() -> None:
    """The re-weighting adds nothing to a group's sum of advantages."""
    responses = random_responses(2, count=16)
    batch = token_batch(responses)
    moved = get_objective("arm", weight=3.0).prepare(batch)
    starts = batch.lengths().cumsum(0) - batch.lengths()
    shift = moved.token_advantage[starts] - batch.advantage
    for group in {one.group for one in responses}:
        mine = [i for i, one in enumerate(responses) if one.group == group]
        assert shift[mine].sum().item() == pytest.approx(0.0, abs=1e-12)
    wanted = [reweighted(Expected(), responses, one, weight=3.0, least_probable=0.2) for one in responses]
    assert moved.token_advantage[starts].tolist() == pytest.approx(wanted, rel=1e-12)
    assert min(confidence(one, 0.2) for one in responses) > 0


def test_asks_for_rewards_and_groups() -> None:
    assert get_objective("arm").requires == {"reward", "group"}


@pytest.mark.parametrize("parameters", [{"weight": -1}, {"least_probable": 0.0}, {"least_probable": 1.5}])
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("arm", **parameters)
