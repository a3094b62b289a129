"""ETR, as rebuilt, by hand and against its reference."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import (
    CLIPPED,
    SEEDS,
    assert_agrees,
    assert_agrees_on_random_batches,
    branches_of,
)
from tests.espo_core.objectives.references.outcome import etr
from tests.espo_core.objectives.rollouts import gradient_of, random_responses

PARAMETERS: list[dict[str, Any]] = [
    {"epsilon": 0.02},
    {"epsilon": 0.02, "lambda_micro": 0.0, "lambda_macro": 0.0},
    {"epsilon": 0.01, "lambda_micro": 2.0, "lambda_macro": 3.0},
    {},
]
OUTCOMES = {"no verdict", "unverified", "equal rewards", "contrast"}


def test_value_by_hand() -> None:
    """Rewards 1, 0, 0, 0: p = 1/4 stretches by 1 + 3/4 λ_macro; advantages ±1 by 1 + tanh(1) λ_micro.

    With ε_0 = 0.1 and both λ = 1 the bound is 0.175 (1 + tanh 1) = 0.30828: 1.25 is inside, 1.5 is cut.
    """
    logp_old = torch.full((4,), -1.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + torch.tensor([1.25, 1.5, 0.5, 1.0], dtype=torch.float64).log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.arange(4),
        advantage=torch.tensor([1.0, 1.0, -1.0, 0.0], dtype=torch.float64),
        group=torch.zeros(4, dtype=torch.int64),
        reward=torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64),
        vocab_size=19,
    )
    bound = 0.1 * (1 + math.tanh(1)) * 1.75
    out = get_objective("etr", epsilon=0.1, lambda_micro=1.0, lambda_macro=1.0)(batch)
    assert out.loss.item() == pytest.approx(-(1.25 + (1 + bound) - (1 - bound)) / 4, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([-1.25 / 4, 0, 0, 0], rel=1e-12)
    assert out.metrics["epsilon_mean"] == pytest.approx((3 * bound + 0.175) / 4)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, Any]) -> None:
    assert_agrees_on_random_batches(get_objective("etr", **parameters), etr, parameters, spread=0.05)


def test_agrees_where_rewards_leave_the_unit_interval() -> None:
    objective = get_objective("etr", epsilon=0.02, lambda_macro=5.0)
    for seed in SEEDS:
        responses = [replace(one, reward=4 * one.reward - 1) for one in random_responses(seed)]
        assert_agrees(objective, responses, etr(responses, epsilon=0.02, lambda_macro=5.0))


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(etr, spread=0.05, **PARAMETERS[0]) == CLIPPED | OUTCOMES


def test_asks_for_rewards_and_groups() -> None:
    assert get_objective("etr").requires == {"reward", "group"}


@pytest.mark.parametrize("parameters", [{"epsilon": 0.0}, {"lambda_micro": -1}, {"lambda_macro": -1}])
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("etr", **parameters)
