"""BAPO by hand and against its reference, over searches that end at every place."""

from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.balanced import bapo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"positive_share": 0.55},
    {"positive_share": 0.55, "order": "low_first"},
    {"positive_share": 0.55, "measure": "gradient"},
    {"positive_share": 0.5, "measure": "gradient", "order": "low_first", "low_step": 0.05},
    {"positive_share": 0.99, "low_start": 0.8, "high_start": 1.05, "high_end": 1.5, "high_step": 0.01},
]
SEARCHED = {"raised", "nothing to raise", "high raised"}


def hand_batch() -> TokenBatch:
    """Ratios 2 and 0.5 with advantage 1 and 1, then 1 and 0.7 with advantage -2."""
    logp_old = torch.full((4,), -3.0, dtype=torch.float64)
    return TokenBatch(
        logp=(logp_old + torch.tensor([2.0, 0.5, 1.0, 0.7], dtype=torch.float64).log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1, 1]),
        advantage=torch.tensor([1.0, -2.0], dtype=torch.float64),
        vocab_size=19,
    )


def test_value_by_hand() -> None:
    """ρ = (min(2, c_high) + 0.5) / (that + 3.4): 0.333 at 1.2, and 0.4 is reached from c_high = 1.7667 on.

    In steps of a tenth from 1.2 the first such bound is 1.8; c_low stays at 0.6. J = (1.8 + 0.5 - 3.4) / 4.
    """
    batch = hand_batch()
    out = get_objective("bapo", high_step=0.1)(batch)
    assert out.metrics["bound_high"] == pytest.approx(1.8)
    assert out.metrics["bound_low"] == pytest.approx(0.6)
    assert out.loss.item() == pytest.approx((3.4 - 2.3) / 4, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, -0.125, 0.5, 0.35], rel=1e-12)


def test_gradient_measure_by_hand() -> None:
    """Only tokens with gradient weigh: 0.5 / 3.9 until c_high reaches 2, then 2.5 / 5.9 = 0.424."""
    batch = hand_batch()
    out = get_objective("bapo", measure="gradient", high_step=0.1)(batch)
    assert out.metrics["bound_high"] == pytest.approx(2.0)
    low_first = get_objective("bapo", measure="gradient", order="low_first", low_step=0.1)(batch)
    assert low_first.metrics["bound_low"] == pytest.approx(0.9)
    assert low_first.metrics["bound_high"] == pytest.approx(2.0)


def test_bounds_of_a_whole_mini_batch_hold_for_its_parts() -> None:
    batch = hand_batch()
    objective = get_objective("bapo")
    fitted = objective.fitted(batch)
    good = batch.select(torch.tensor([0]))
    assert fitted(good).metrics["bound_high"] == objective(batch).metrics["bound_high"]
    assert objective(good).metrics["bound_high"] == pytest.approx(1.2)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, Any]) -> None:
    assert_agrees_on_random_batches(get_objective("bapo", **parameters), bapo, parameters, spread=0.4)


def test_the_random_batches_reach_every_branch() -> None:
    found = [branches_of(bapo, spread=0.4, **parameters) for parameters in PARAMETERS]
    assert set().union(*found) == CLIPPED | SEARCHED | {"low raised", "never balanced"}
    assert all(branches >= {"raised", "high raised"} for branches in found[1:2])
    assert "low raised" in found[2]
    assert "never balanced" in found[5]


@pytest.mark.parametrize(
    "parameters",
    [
        {"positive_share": 1.0},
        {"measure": "count"},
        {"order": "alternate"},
        {"low_step": 0.0},
        {"high_step": 0.0},
        {"high_start": 0.9},
        {"low_start": 1.1},
    ],
)
def test_refuses_values_out_of_bounds(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("bapo", **parameters)


@pytest.mark.parametrize("parameters", [{"low_start": 0.95}, {"high_start": 3.5}])
def test_refuses_a_search_that_ends_before_it_begins(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        get_objective("bapo", **parameters)
