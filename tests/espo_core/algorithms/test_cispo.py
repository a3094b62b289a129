"""CISPO against its paper by hand and its reference."""

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.soft import cispo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [
    {},
    {"epsilon_high": 0.2},
    {"epsilon_low": 0.2, "epsilon_high": 0.3},
]
SIGNS = {"positive", "zero", "negative"}


def test_value_by_hand() -> None:
    """Ratios 8 and 0.5 with advantage 1, then 2 with advantage -1; the first weight is capped at 5.

    Every log-probability is -1 plus the log-ratio, and every token keeps its gradient.
    """
    log_ratio = torch.tensor([8.0, 0.5, 2.0], dtype=torch.float64).log()
    logp_old = torch.full((3,), -3.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + log_ratio).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1]),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("cispo")(batch)
    logp = batch.logp.tolist()
    assert out.loss.item() == pytest.approx(-(5 * logp[0] + 0.5 * logp[1] - 2 * logp[2]) / 3, rel=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([-5 / 3, -0.5 / 3, 2 / 3], rel=1e-12)
    assert out.metrics["weight_capped_fraction"] == pytest.approx(1 / 3)
    assert out.metrics["clip_fraction"] == 0.0
    assert out.metrics["gradient_utilisation"] == 1.0


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("cispo", **parameters), cispo, parameters, spread=0.3)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(cispo, spread=0.3, **PARAMETERS[2]) == SIGNS | {"low", "inside", "high"}
    assert branches_of(cispo, spread=0.3, **PARAMETERS[1]) == SIGNS | {"inside", "high"}


@pytest.mark.parametrize("parameters", [{"epsilon_low": 0.0}, {"epsilon_high": 0.0}])
def test_refuses_values_out_of_bounds(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        get_objective("cispo", **parameters)
