"""SSPO, as rebuilt, by hand and against its reference."""

import math
from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.sequence import sspo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature_positive": 3.0, "temperature_negative": 7.0},
    {"gate": "arctan"},
    {"gate": "arctan", "kappa": 5.0},
]


def batch_of(log_ratios: list[float], advantage: float) -> TokenBatch:
    """One response of these log-ratios."""
    logp_old = torch.full((len(log_ratios),), -3.0, dtype=torch.float64)
    return TokenBatch(
        logp=(logp_old + torch.tensor(log_ratios, dtype=torch.float64)).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.zeros(len(log_ratios), dtype=torch.int64),
        advantage=torch.tensor([advantage], dtype=torch.float64),
        vocab_size=19,
    )


def test_sigmoid_gate_by_hand() -> None:
    """At r = 1 and 1 + log 3 with τ = 1 the gates are 2 and 3, W = √6; a token's slope is (1 − σ) r W / 2."""
    batch = batch_of([0.0, math.log(1 + math.log(3))], advantage=1.0)
    out = get_objective("sspo")(batch)
    ratio = math.sqrt(6)
    assert out.loss.item() == pytest.approx(-ratio, rel=1e-12)
    expected = [-ratio / 2 / 2, -ratio / 2 / 4 * (1 + math.log(3))]
    assert gradient_of(out.loss, batch).tolist() == pytest.approx(expected, rel=1e-12)


def test_arctan_gate_by_hand() -> None:
    """Log-ratios 0 and 1 with κ = 1: g = 0 and π/4, with slopes 1 and 1/2."""
    batch = batch_of([0.0, 1.0], advantage=-1.0)
    out = get_objective("sspo", gate="arctan")(batch)
    ratio = math.exp(math.pi / 8)
    assert out.loss.item() == pytest.approx(ratio, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([ratio / 2, ratio / 4], rel=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
@pytest.mark.parametrize("spread", [0.03, 0.5])
def test_agrees_with_the_reference(parameters: dict[str, Any], spread: float) -> None:
    assert_agrees_on_random_batches(get_objective("sspo", **parameters), sspo, parameters, spread=spread)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(sspo) == {"positive", "zero", "negative"}


@pytest.mark.parametrize("parameters", [{"gate": "tanh"}, {"kappa": 0.0}, {"temperature_negative": 0.0}])
def test_refuses_values_out_of_bounds(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("sspo", **parameters)
