"""AER, as rebuilt, by hand and against its reference; its controller against a loop."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import Objective, TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import (
    CLIPPED,
    SEEDS,
    assert_agrees,
    assert_agrees_on_random_batches,
    branches_of,
)
from tests.espo_core.objectives.references.outcome import aer, aer_coefficients
from tests.espo_core.objectives.rollouts import random_responses, token_batch

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"coefficient": 0.5, "epsilon_low": 0.02, "epsilon_high": 0.03},
    {"coefficient": 2.0, "difficulty": 0.5},
    {"coefficient": 0.0},
]
OUTCOMES = {"no verdict", "unverified", "equal rewards", "contrast", "bonus", "no bonus"}


def test_bonus_by_hand() -> None:
    """One prompt at p = 1/2 and one at 1; with ρ = 0.75 and α = 2 a token of the first gains 2 · 0.25 · H.

    Ratios are 1 and advantages 0: J = (0.5 · (0.4 + 0.2) / 2 + 0.5 · 1.0) / 3.
    """
    logp = torch.full((4,), -1.0, dtype=torch.float64)
    entropy = torch.tensor([0.4, 0.2, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    batch = TokenBatch(
        logp=logp.clone().requires_grad_(),
        logp_old=logp,
        entropy_old=torch.zeros_like(logp),
        entropy=entropy,
        response=torch.tensor([0, 0, 1, 2]),
        advantage=torch.zeros(3, dtype=torch.float64),
        group=torch.tensor([0, 0, 7]),
        reward=torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("aer", coefficient=2.0, difficulty=0.75)(batch)
    assert out.loss.item() == pytest.approx(-(0.15 + 0.5) / 3, rel=1e-12)
    (gradient,) = torch.autograd.grad(out.loss, entropy)
    assert gradient.tolist() == pytest.approx([-0.25 / 3, -0.25 / 3, -0.5 / 3, 0], rel=1e-12)
    assert out.metrics["entropy_coefficient"] == 2.0


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, Any]) -> None:
    assert_agrees_on_random_batches(get_objective("aer", **parameters), aer, parameters)


def test_agrees_where_rewards_leave_the_unit_interval() -> None:
    objective = get_objective("aer", coefficient=0.5, difficulty=0.5)
    for seed in SEEDS:
        responses = [replace(one, reward=4 * one.reward - 1) for one in random_responses(seed)]
        assert_agrees(objective, responses, aer(responses, coefficient=0.5, difficulty=0.5))


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(aer, difficulty=0.5, epsilon_low=0.02, epsilon_high=0.03) == CLIPPED | OUTCOMES


def strength_of(objective: Objective) -> float:
    """α as the objective uses it: it is what the loss is multiplied by where nothing else is left."""
    batch = token_batch(random_responses(0))
    still = replace(batch, advantage=torch.zeros_like(batch.advantage))
    return -objective(still).loss.item()


def test_controller_follows_its_equation() -> None:
    """The entropy starts high, falls far below the target and comes back: α goes to 0 and up again."""
    entropies = [1.0, 1.5, 0.6, 0.1, 0.05, 0.05, 0.3, 0.7]
    settings = {"coefficient": 0.1, "rate": 0.2, "target_fraction": 0.4}
    wanted = aer_coefficients(entropies, initial=0.1, rate=0.2, target_fraction=0.4)
    objective = get_objective("aer", **settings)
    unit = strength_of(objective) / 0.1
    batch = token_batch(random_responses(1))
    found = [strength_of(objective) / unit]
    for entropy in entropies:
        seen = replace(batch, entropy_old=torch.full_like(batch.entropy_old, entropy))
        objective = objective.observed(seen)
        found.append(strength_of(objective) / unit)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert 0.0 in wanted
    assert max(wanted[3:]) > 0.1


def test_controller_continues_from_its_state() -> None:
    objective = get_objective("aer", coefficient=0.1, rate=0.2)
    batch = token_batch(random_responses(1))
    for _ in range(3):
        objective = objective.observed(batch)
    restored = get_objective("aer", coefficient=0.1, rate=0.2).restored(objective.state())
    assert strength_of(restored) == strength_of(objective) != strength_of(get_objective("aer"))
    lower = replace(batch, entropy_old=batch.entropy_old / 4)
    assert strength_of(restored.observed(lower)) == strength_of(objective.observed(lower))


def test_asks_for_entropy_rewards_and_groups() -> None:
    assert get_objective("aer").requires == {"entropy", "reward", "group"}


@pytest.mark.parametrize(
    "parameters", [{"coefficient": -0.1}, {"rate": -1}, {"target_fraction": -1}, {"difficulty": 1.5}]
)
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("aer", **parameters)
