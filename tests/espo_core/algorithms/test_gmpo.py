"""GMPO against its paper by hand and its reference."""

import math

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.sequence import gmpo
from tests.espo_core.objectives.rollouts import gradient_of

PARAMETERS: list[dict[str, object]] = [{}, {"log_bound": 0.1}, {"log_bound": 0.25}]


def test_value_by_hand() -> None:
    """Log-ratios 1 and -0.2 with advantage 1, cut at 0.4: s = exp(0.1). Then -1 and 0.6 with advantage -1.

    There only -1 is cut, to -0.4, and s = exp(0.1) again, so J = 0; the uncut tokens get s · 1 / (2 · 2).
    """
    logp_old = torch.full((4,), -2.0, dtype=torch.float64)
    batch = TokenBatch(
        logp=(logp_old + torch.tensor([1.0, -0.2, -1.0, 0.6], dtype=torch.float64)).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1, 1]),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )
    out = get_objective("gmpo")(batch)
    share = math.exp(0.1) / 4
    assert out.loss.item() == pytest.approx(0.0, abs=1e-12)
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, -share, 0, share], rel=1e-12)
    assert out.metrics["clip_fraction_low"] == out.metrics["clip_fraction_high"] == 0.25
    assert out.metrics["ratio_max"] == pytest.approx(math.exp(0.1))


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("gmpo", **parameters), gmpo, parameters, spread=0.3)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(gmpo, spread=0.3) == CLIPPED


@pytest.mark.parametrize("log_bound", [0.0, -0.4, 101.0])
def test_refuses_values_out_of_bounds(log_bound: float) -> None:
    with pytest.raises(ConfigError, match="log_bound"):
        get_objective("gmpo", log_bound=log_bound)
