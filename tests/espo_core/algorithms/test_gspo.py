"""GSPO against its paper by hand and its reference."""

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.sequence import gspo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [{}, {"epsilon_low": 0.01, "epsilon_high": 0.0133}]


def test_value_by_hand() -> None:
    """Token ratios 4 and 1 make a response's ratio of 2; with bounds 0.5 and 1.5 it is cut at 1.5 for A = 1.

    The second response, ratio 0.9 and A = -1, is inside. J = (1.5 - 0.9) / 2 = 0.3.
    """
    logp_old = torch.full((4,), -2.0, dtype=torch.float64)
    ratios = torch.tensor([4.0, 1.0, 0.9, 0.9], dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + ratios.log()).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1, 1]),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("gspo", epsilon_low=0.5, epsilon_high=0.5)(batch)
    assert out.loss.item() == pytest.approx(-0.3, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, 0, 0.225, 0.225], rel=1e-12)
    assert out.metrics["clip_fraction"] == 0.5
    assert out.metrics["ratio_max"] == pytest.approx(2.0)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("gspo", **parameters), gspo, parameters)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(gspo, **PARAMETERS[1]) == CLIPPED


def test_refuses_values_out_of_bounds() -> None:
    with pytest.raises(ConfigError, match="epsilon_low"):
        get_objective("gspo", epsilon_low=0.0)
