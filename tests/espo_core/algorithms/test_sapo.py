"""SAPO against its paper by hand and its reference."""

import math

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.soft import sapo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [{}, {"temperature_positive": 4.0, "temperature_negative": 9.0}]


def test_value_by_hand() -> None:
    """At r = 1 the gate is 2/τ with slope 1; at r = 1 + log 3 and τ = 1 it is 4 · 3/4 with slope 4 · 3/16."""
    ratio = torch.tensor([1.0, 1 + math.log(3)], dtype=torch.float64)
    logp_old = torch.full((2,), -3.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + ratio.log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 1]),
        advantage=torch.tensor([-1.0, 1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("sapo", temperature_negative=2.0)(batch)
    assert out.loss.item() == pytest.approx(-(3 - 1) / 2, rel=1e-12)
    expected = [0.5, -0.75 * (1 + math.log(3)) / 2]
    assert gradient_of(out.loss, batch).tolist() == pytest.approx(expected, rel=1e-12)
    assert out.metrics["clip_fraction"] == 0.0
    assert out.metrics["gate_mean"] == pytest.approx((1 + 0.75) / 2)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
@pytest.mark.parametrize("spread", [0.03, 0.5])
def test_agrees_with_the_reference(parameters: dict[str, object], spread: float) -> None:
    assert_agrees_on_random_batches(get_objective("sapo", **parameters), sapo, parameters, spread=spread)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(sapo) == {"positive", "zero", "negative"}


@pytest.mark.parametrize("name", ["temperature_positive", "temperature_negative"])
def test_refuses_values_out_of_bounds(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        get_objective("sapo", **{name: 0.0})
