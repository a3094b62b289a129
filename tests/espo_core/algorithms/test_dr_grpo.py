"""Dr. GRPO against its paper by hand and its reference."""

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.clipped import dr_grpo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [
    {},
    {"epsilon_low": 0.02, "epsilon_high": 0.03, "length": 14},
    {"epsilon_low": 0.02, "epsilon_high": 0.03, "length": 7, "kl_coefficient": 0.5},
]


def test_value_by_hand() -> None:
    """Ratios 1.5 and 0.9 with advantage 2, then 0.5 with advantage -1; every token weighs 1 / (2 · 10).

    J = ((1.2 + 0.9) * 2 - 0.8) / 20 = 0.17; the first and third tokens are clipped.
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
    out = get_objective("dr_grpo", length=10)(batch)
    assert out.loss.item() == pytest.approx(-0.17, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, -0.9 * 2 / 20, 0], rel=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("dr_grpo", **parameters), dr_grpo, parameters)


def test_dual_clip_agrees_with_the_reference() -> None:
    parameters: dict[str, object] = {"dual_clip": 1.6, "length": 10}
    assert_agrees_on_random_batches(get_objective("dr_grpo", **parameters), dr_grpo, parameters, spread=0.3)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(dr_grpo, **PARAMETERS[1]) == CLIPPED
    assert branches_of(dr_grpo, dual_clip=1.6, spread=0.3) == CLIPPED | {"dual"}


def test_rewards_are_only_centred() -> None:
    assert get_objective("dr_grpo").advantage_kind == "centred"


@pytest.mark.parametrize(
    "parameters", [{"epsilon_low": 1.5}, {"length": 0}, {"kl_coefficient": -1}, {"dual_clip": 1.0}]
)
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("dr_grpo", **parameters)
