"""GRPO against its paper by hand and its reference."""

import math

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.clipped import grpo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [
    {},
    {"epsilon_low": 0.02, "epsilon_high": 0.03},
    {"epsilon_low": 0.02, "epsilon_high": 0.03, "kl_coefficient": 0.5},
]


def test_value_by_hand() -> None:
    """Ratios 1.5 and 0.9 with advantage 2, then 0.5 with advantage -1.

    J = ((1.2 + 0.9) * 2 / 2 - 0.8) / 2 = 0.65; the first and third tokens are clipped.
    """
    logp_old = torch.full((3,), -1.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + torch.tensor([1.5, 0.9, 0.5], dtype=torch.float64).log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1]),
        advantage=torch.tensor([2.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("grpo")(batch)
    assert out.loss.item() == pytest.approx(-0.65, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, -0.9 * 2 / 2 / 2, 0], rel=1e-12)
    assert out.metrics["clip_fraction_high"] == pytest.approx(1 / 3)
    assert out.metrics["clip_fraction_low"] == pytest.approx(1 / 3)


def test_penalty_by_hand() -> None:
    """One token, advantage 0, twice as likely under the reference: the penalty is 2 - log 2 - 1."""
    logp = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    batch = TokenBatch(
        logp=logp,
        logp_old=logp.detach(),
        entropy_old=torch.zeros(1, dtype=torch.float64),
        logp_ref=logp.detach() + math.log(2),
        response=torch.tensor([0]),
        advantage=torch.zeros(1, dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("grpo", kl_coefficient=0.1)(batch)
    assert out.loss.item() == pytest.approx(0.1 * (1 - math.log(2)), rel=1e-12)
    assert gradient_of(out.loss, batch).item() == pytest.approx(0.1 * (1 - 2), rel=1e-12)
    assert out.metrics["kl_reference"] == pytest.approx(1 - math.log(2), rel=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("grpo", **parameters), grpo, parameters)


def test_dual_clip_agrees_with_the_reference() -> None:
    parameters = {"dual_clip": 1.6, "kl_coefficient": 0.1}
    assert_agrees_on_random_batches(get_objective("grpo", **parameters), grpo, parameters, spread=0.3)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(grpo, **PARAMETERS[1]) == CLIPPED
    assert branches_of(grpo, dual_clip=1.6, spread=0.3) == CLIPPED | {"dual"}


def test_asks_for_the_reference_policy_only_with_a_penalty() -> None:
    assert get_objective("grpo").requires == frozenset()
    assert get_objective("grpo", kl_coefficient=0.1).requires == {"logp_ref"}


@pytest.mark.parametrize("parameters", [{"epsilon_low": 1.5}, {"epsilon_high": 0.0}, {"kl_coefficient": -1}])
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("grpo", **parameters)
