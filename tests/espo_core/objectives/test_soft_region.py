"""Weights, gates and targets that leave every token its gradient, by hand and against finite differences."""

import math

import pytest
import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.soft_region import ClippedWeight, SoftGate, TargetMatching
from espo_core.objectives.trust_region import Surrogate, TrustRegionPart
from espo_core.objectives.units import token_units


def surrogate_of(
    part: TrustRegionPart, *, old: list[float], ratio: list[float], advantage: list[float]
) -> tuple[Surrogate, list[float]]:
    """The surrogate of responses of one token, given by probability, and its slope by log π_θ."""
    logp_old = torch.tensor(old, dtype=torch.float64).log()
    logp = (logp_old + torch.tensor(ratio, dtype=torch.float64).log()).requires_grad_()
    batch = TokenBatch(
        logp=logp,
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.arange(len(old)),
        advantage=torch.tensor(advantage, dtype=torch.float64),
        vocab_size=19,
    )
    units = token_units(batch)
    surrogate = part(batch, units, token_ratio(batch, units).value)
    (slope,) = torch.autograd.grad(surrogate.value.sum(), logp)
    assert not (surrogate.removed_low | surrogate.removed_high).any()
    return surrogate, slope.tolist()


def mean_of(surrogate: Surrogate, name: str) -> float:
    mean = surrogate.diagnostics[name]
    return float(mean.total / mean.count)


RATIOS = [0.25, 0.6, 1.0, 2.9, 4.0]


@pytest.mark.parametrize(
    ("low", "weights", "capped"), [(None, [0.25, 0.6, 1, 2.9, 3], 0.2), (0.5, [0.5, 0.6, 1, 2.9, 3], 0.4)]
)
def test_weight_is_bounded_and_detached(low: float | None, weights: list[float], capped: float) -> None:
    part = ClippedWeight(epsilon_low=low, epsilon_high=2.0)
    surrogate, slope = surrogate_of(part, old=[0.1] * 5, ratio=RATIOS, advantage=[-2.0] * 5)
    assert slope == pytest.approx([-2 * weight for weight in weights])
    logp = [math.log(0.1 * ratio) for ratio in RATIOS]
    wanted = [-2 * weight * log for weight, log in zip(weights, logp, strict=True)]
    assert surrogate.value.tolist() == pytest.approx(wanted)
    assert mean_of(surrogate, "weight_capped_fraction") == pytest.approx(capped)


def test_gate_is_steepest_at_the_old_policy_and_alike_on_both_sides() -> None:
    part = SoftGate(temperature_positive=2.0, temperature_negative=6.0)
    ratio = [0.5, 1.0, 1.5, 0.5, 1.0, 1.5, 1.0]
    surrogate, slope = surrogate_of(part, old=[0.1] * 7, ratio=ratio, advantage=[1.0] * 3 + [-1.0] * 3 + [0])
    by_ratio = [one / r for one, r in zip(slope, ratio, strict=True)]
    assert by_ratio[0] == pytest.approx(by_ratio[2])
    assert by_ratio[3] == pytest.approx(by_ratio[5])
    assert by_ratio[1] == -by_ratio[4] == pytest.approx(1.0)
    assert 0 < -by_ratio[3] < by_ratio[0] < 1
    assert surrogate.value.tolist()[1] == pytest.approx(2 / 2)
    assert surrogate.value.tolist()[4] == pytest.approx(-2 / 6)
    assert slope[6] == 0.0


def target(old: float, advantage: float, beta: float) -> float:
    """π_old e^{A/β} over the sum of itself and the others, which keep theirs."""
    raised = old * math.exp(advantage / beta)
    return raised / (raised + 1 - old)


def test_matching_pulls_the_probability_to_its_target() -> None:
    """The slope by log p is (p* − p) / (1 − p): 0 at the target, and none without advantage."""
    old, ratio, advantage = [0.25, 0.25, 0.5, 0.1], [1.0, 2.0, 0.5, 3.0], [1.0, -1.0, 0.5, 0.0]
    part = TargetMatching(beta=0.5)
    surrogate, slope = surrogate_of(part, old=old, ratio=ratio, advantage=advantage)
    for i in range(3):
        p, wanted = old[i] * ratio[i], target(old[i], advantage[i], 0.5)
        assert slope[i] == pytest.approx((wanted - p) / (1 - p))
        value = wanted * math.log(p) + (1 - wanted) * math.log(1 - p)
        assert surrogate.value.tolist()[i] == pytest.approx(value)
    assert (slope[3], surrogate.value.tolist()[3]) == (0.0, 0.0)
    reached = target(0.25, 1.0, 0.5) / 0.25
    _, at_target = surrogate_of(part, old=[0.25], ratio=[reached], advantage=[1.0])
    assert at_target == pytest.approx([0.0], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matching_is_finite_where_a_probability_rounds_to_one(dtype: torch.dtype) -> None:
    logp: Tensor = torch.zeros(2, dtype=dtype, requires_grad=True)
    batch = TokenBatch(
        logp=logp,
        logp_old=torch.zeros(2, dtype=dtype),
        entropy_old=torch.zeros(2, dtype=dtype),
        response=torch.arange(2),
        advantage=torch.tensor([1.0, -1.0], dtype=dtype),
        vocab_size=19,
    )
    units = token_units(batch)
    surrogate = TargetMatching(beta=0.5)(batch, units, token_ratio(batch, units).value)
    (slope,) = torch.autograd.grad(surrogate.value.sum(), logp)
    assert bool(surrogate.value.isfinite().all() & slope.isfinite().all())
