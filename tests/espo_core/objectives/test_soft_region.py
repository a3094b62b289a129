"""Target matching by hand; the other soft regions are tested with their algorithms."""

import math

import pytest
import torch

from espo_core.batch import TokenBatch
from espo_core.objectives.soft_region import TargetMatching
from espo_core.objectives.units import token_units


def value_and_slope(*, policy: float, old: float, advantage: float, beta: float = 1.0) -> tuple[float, float]:
    """Surrogate of one token and its derivative by log π_θ."""
    logp = torch.tensor([math.log(policy)], dtype=torch.float64, requires_grad=True)
    batch = TokenBatch(
        logp=logp,
        logp_old=torch.tensor([math.log(old)], dtype=torch.float64),
        entropy_old=torch.zeros(1, dtype=torch.float64),
        response=torch.zeros(1, dtype=torch.int64),
        advantage=torch.tensor([advantage], dtype=torch.float64),
        vocab_size=19,
    )
    value = TargetMatching(beta=beta)(batch, token_units(batch), logp.exp()).value
    (slope,) = torch.autograd.grad(value.sum(), logp)
    return float(value.detach()), float(slope)


@pytest.mark.parametrize("advantage", [2.0, -0.5])
def test_slope_is_that_of_the_cross_entropy_with_the_target(advantage: float) -> None:
    odds = 0.3 / 0.7 * math.exp(advantage)
    target = odds / (1 + odds)
    value, slope = value_and_slope(policy=0.4, old=0.3, advantage=advantage)
    assert value == pytest.approx(target * math.log(0.4) + (1 - target) * math.log(0.6), rel=1e-12)
    assert slope == pytest.approx((target - 0.4) / 0.6, rel=1e-12)


def test_the_target_is_where_it_comes_to_rest() -> None:
    target = 1 / (1 + 0.7 / 0.3 * math.exp(-2.0))
    assert value_and_slope(policy=target, old=0.3, advantage=1.0, beta=0.5)[1] == pytest.approx(0, abs=1e-12)


def test_tokens_without_advantage_are_left_alone() -> None:
    assert value_and_slope(policy=0.4, old=0.3, advantage=0.0) == (0.0, 0.0)


@pytest.mark.parametrize("advantage", [3.0, -3.0])
@pytest.mark.parametrize("policy", [1.0, 1e-30])
def test_sure_and_hopeless_tokens_stay_finite(policy: float, advantage: float) -> None:
    value, slope = value_and_slope(policy=policy, old=policy, advantage=advantage)
    assert math.isfinite(value)
    assert math.isfinite(slope)
