"""DAPO against its paper by hand and its reference."""

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.clipped import dapo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [{}, {"epsilon_low": 0.02, "epsilon_high": 0.03}]


def test_value_by_hand() -> None:
    """Ratios 1.5, 1.25 and 0.9 with advantage 2, then 0.5 with advantage -1, in a mean over four tokens.

    J = ((1.28 + 1.25 + 0.9) * 2 - 0.8) / 4 = 1.515: 1.25 is inside the wider upper bound.
    """
    logp_old = torch.full((4,), -1.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + torch.tensor([1.5, 1.25, 0.9, 0.5], dtype=torch.float64).log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 0, 1]),
        advantage=torch.tensor([2.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("dapo")(batch)
    assert out.loss.item() == pytest.approx(-1.515, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, -0.625, -0.45, 0], rel=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("dapo", **parameters), dapo, parameters)


@pytest.mark.parametrize("parameters", [{}, {"dual_clip": 1.6}], ids=str)
def test_agrees_with_the_reference_far_off_policy(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("dapo", **parameters), dapo, parameters, spread=0.3)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(dapo, **PARAMETERS[1]) == CLIPPED
    assert branches_of(dapo, spread=0.3) == CLIPPED
    assert branches_of(dapo, dual_clip=1.6, spread=0.3) == CLIPPED | {"dual"}


@pytest.mark.parametrize("parameters", [{"epsilon_low": 0.0}, {"epsilon_high": 101}, {"dual_clip": 1.0}])
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("dapo", **parameters)
