"""PPO-min on both sides of both bounds, the adaptive bound, and no bound."""

import math

import pytest
import torch

from espo_core.batch import TokenBatch
from espo_core.objectives.adaptive_clip import EntropyAdaptiveClip
from espo_core.objectives.trust_region import HardClip, Surrogate, unbounded
from espo_core.objectives.units import sequence_units, token_units

RATIOS = [0.5, 0.8, 1.0, 1.5, 2.0]


def batch_of(advantage: float, entropy: float = 0.0) -> TokenBatch:
    """Five responses of one token, all with one advantage and entropy; V = 16."""
    flat = torch.zeros(5, dtype=torch.float64)
    return TokenBatch(
        logp=flat,
        logp_old=flat,
        entropy_old=flat + entropy,
        response=torch.arange(5),
        advantage=flat + advantage,
        vocab_size=16,
    )


def slopes(surrogate: Surrogate, ratio: torch.Tensor) -> list[float]:
    (gradient,) = torch.autograd.grad(surrogate.value.sum(), ratio)
    return gradient.tolist()


@pytest.fixture
def ratio() -> torch.Tensor:
    return torch.tensor(RATIOS, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("advantage", "value", "slope", "low", "high"),
    [
        (2.0, [1.0, 1.6, 2.0, 3.0, 3.0], [2, 2, 2, 2, 0], 0, 1),
        (-2.0, [-1.6, -1.6, -2.0, -3.0, -4.0], [0, -2, -2, -2, -2], 1, 0),
        (0.0, [0.0] * 5, [0] * 5, 0, 0),
    ],
)
def test_hard_clip_removes_only_what_would_gain_more(
    ratio: torch.Tensor, advantage: float, value: list[float], slope: list[float], low: int, high: int
) -> None:
    """Bounds 0.8 and 1.5; a ratio at its bound keeps its gradient."""
    batch = batch_of(advantage)
    clip = HardClip(epsilon_low=0.2, epsilon_high=0.5)
    surrogate = clip(batch, token_units(batch), ratio)
    assert surrogate.value.tolist() == pytest.approx(value)
    assert slopes(surrogate, ratio) == slope
    assert (int(surrogate.removed_low.sum()), int(surrogate.removed_high.sum())) == (low, high)


def test_adaptive_bound_follows_the_mean_entropy_of_the_unit(ratio: torch.Tensor) -> None:
    """An entropy of log 4 under V = 16 is half of the possible: epsilon = 0.8 / 2 = 0.4."""
    batch = batch_of(1.0, entropy=math.log(4))
    surrogate = EntropyAdaptiveClip(alpha=0.8, epsilon_min=0.1)(batch, sequence_units(batch), ratio)
    assert surrogate.value.tolist() == pytest.approx([0.5, 0.8, 1.0, 1.4, 1.4])
    mean = surrogate.diagnostics["epsilon_mean/0"]
    assert float(mean.total / mean.count) == pytest.approx(0.4)


def test_no_bound_removes_nothing(ratio: torch.Tensor) -> None:
    batch = batch_of(-2.0)
    surrogate = unbounded(batch, token_units(batch), ratio)
    assert surrogate.value.tolist() == [-2 * one for one in RATIOS]
    assert slopes(surrogate, ratio) == [-2] * 5
    assert not (surrogate.removed_low | surrogate.removed_high).any()
