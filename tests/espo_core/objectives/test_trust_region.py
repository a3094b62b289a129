"""PPO-min on both sides of both bounds, with a floor for bad tokens, and without bounds."""

import pytest
import torch

from espo_core.batch import TokenBatch
from espo_core.objectives.trust_region import DualClip, HardClip, Surrogate, clip, unbounded
from espo_core.objectives.units import token_units

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


def test_dual_clip_has_a_floor_for_bad_tokens_alone(ratio: torch.Tensor) -> None:
    """Cap 1.5: a ratio at the cap keeps its gradient; good tokens are clipped as ever."""
    clip = DualClip(epsilon_low=0.2, epsilon_high=0.3, cap=1.5)
    bad, good = batch_of(-2.0), batch_of(2.0)
    surrogate = clip(bad, token_units(bad), ratio)
    assert surrogate.value.tolist() == pytest.approx([-1.6, -1.6, -2.0, -3.0, -3.0])
    assert slopes(surrogate, ratio) == [0, -2, -2, -2, 0]
    assert surrogate.removed_low.tolist() == [True, False, False, False, False]
    assert surrogate.removed_high.tolist() == [False, False, False, False, True]
    surrogate = clip(good, token_units(good), ratio)
    assert surrogate.value.tolist() == pytest.approx([1.0, 1.6, 2.0, 2.6, 2.6])
    assert surrogate.removed_high.tolist() == [False, False, False, True, True]


def test_clip_is_dual_only_with_a_cap() -> None:
    assert isinstance(clip(0.2, 0.3, cap=None), HardClip)
    assert clip(0.2, 0.3, cap=3.0) == DualClip(epsilon_low=0.2, epsilon_high=0.3, cap=3.0)


def test_no_bound_removes_nothing(ratio: torch.Tensor) -> None:
    batch = batch_of(-2.0)
    surrogate = unbounded(batch, token_units(batch), ratio)
    assert surrogate.value.tolist() == [-2 * one for one in RATIOS]
    assert slopes(surrogate, ratio) == [-2] * 5
    assert not (surrogate.removed_low | surrogate.removed_high).any()
