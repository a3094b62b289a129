"""Bounds that the batch sets: by entropy, by outcome, and by a search, step by step."""

import math
from dataclasses import replace

import pytest
import torch

from espo_core.batch import TokenBatch
from espo_core.errors import ConfigError
from espo_core.objectives.adaptive_clip import BalancedClip, ElasticClip, EntropyAdaptiveClip
from espo_core.objectives.trust_region import Surrogate
from espo_core.objectives.units import sequence_units, token_units

RATIO = torch.tensor([0.5, 0.8, 1.0, 1.5, 2.0], dtype=torch.float64)


def batch_of(advantage: list[float], *, entropy: float = 0.0, group_mean: float = 0.0) -> TokenBatch:
    """Responses of one token; V = 16."""
    flat = torch.zeros(len(advantage), dtype=torch.float64)
    return TokenBatch(
        logp=flat,
        logp_old=flat,
        entropy_old=flat + entropy,
        response=torch.arange(len(advantage)),
        advantage=torch.tensor(advantage, dtype=torch.float64),
        group_mean=flat + group_mean,
        vocab_size=16,
    )


def mean_of(surrogate: Surrogate, name: str) -> float:
    mean = surrogate.diagnostics[name]
    return float(mean.total / mean.count)


def test_adaptive_bound_follows_the_mean_entropy_of_the_unit() -> None:
    """An entropy of log 4 under V = 16 is half of the possible: epsilon = 0.8 / 2 = 0.4."""
    batch = batch_of([1.0] * 5, entropy=math.log(4))
    surrogate = EntropyAdaptiveClip(alpha=0.8, epsilon_min=0.1)(batch, sequence_units(batch), RATIO)
    assert surrogate.value.tolist() == pytest.approx([0.5, 0.8, 1.0, 1.4, 1.4])
    assert mean_of(surrogate, "epsilon_mean/0") == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("advantage", "group_mean", "epsilon"),
    [
        (0.0, 0.0, 0.1),
        (0.0, 0.5, 0.1 * 4),
        (0.0, 0.25, 0.1 * (1 + 3 * 0.75)),
        (2.0, 0.0, 0.1 * (1 + 2 * math.tanh(2))),
        (-2.0, 0.0, 0.1 * (1 + 2 * math.tanh(2))),
        (2.0, 1.0, 0.1 * (1 + 2 * math.tanh(2))),
        (2.0, 7.0, 0.1 * (1 + 2 * math.tanh(2))),
        (2.0, -7.0, 0.1 * (1 + 2 * math.tanh(2))),
    ],
)
def test_elastic_bound_stretches_with_advantage_and_doubt(
    advantage: float, group_mean: float, epsilon: float
) -> None:
    batch = batch_of([advantage] * 5, group_mean=group_mean)
    surrogate = ElasticClip(epsilon=0.1, micro=2.0, macro=3.0)(batch, token_units(batch), RATIO)
    assert mean_of(surrogate, "epsilon_mean") == pytest.approx(epsilon)
    if advantage > 0:
        assert surrogate.value.tolist()[-1] == pytest.approx(advantage * (1 + epsilon))
        assert surrogate.removed_high.tolist() == [False, False, False, RATIO[3] > 1 + epsilon, True]


SEARCH = BalancedClip(
    low_start=0.5,
    low_end=0.7,
    low_step=0.1,
    high_start=1.0,
    high_end=1.25,
    high_step=0.1,
    positive_share=0.99,
    measure="value",
    order="high_first",
)


def settled(clip: BalancedClip, advantage: list[float]) -> tuple[float, float]:
    batch = batch_of(advantage)
    found = clip.fit(batch, token_units(batch), RATIO).settled
    assert found is not None
    return found


def test_search_that_finds_no_balance_ends_at_both_ends_exactly() -> None:
    """A quarter in steps of a tenth is two steps and a half: the last stops at the end."""
    for order in ("high_first", "low_first"):
        clip = replace(SEARCH, order=order)
        assert settled(clip, [1.0, 1.0, -1.0, -1.0, 1.0]) == (0.7, 1.25)


def test_search_stops_at_the_first_bounds_that_balance() -> None:
    """Ratios 1.5 and 2 are good, 0.8 and 1 bad: 2 c_high / (2 c_high + 1.8) is 0.5263, 0.55, 0.5714, …"""
    mixed = [0.0, -1.0, -1.0, 1.0, 1.0]
    assert settled(replace(SEARCH, positive_share=0.52), mixed) == (0.5, 1.0)
    assert settled(replace(SEARCH, positive_share=0.54), mixed) == pytest.approx((0.5, 1.1))
    assert settled(replace(SEARCH, positive_share=0.56), mixed) == pytest.approx((0.5, 1.2))
    assert settled(replace(SEARCH, positive_share=0.5263157894736842), mixed) == (0.5, 1.0)


def test_batch_without_weight_is_balanced() -> None:
    assert settled(SEARCH, [0.0] * 5) == (0.5, 1.0)


def test_batch_of_good_tokens_alone_is_balanced() -> None:
    assert settled(SEARCH, [1.0] * 5) == (0.5, 1.0)


def test_order_decides_which_bound_moves_first() -> None:
    """With the gradient measure the bad 0.5 drops out at a lower bound of 0.6, the good 1.5 counts never."""
    clip = replace(SEARCH, measure="gradient", positive_share=0.5, high_end=1.1)
    tokens = [-1.0, 1.0, 0.0, 1.0, 0.0]
    assert settled(replace(clip, positive_share=0.7), tokens) == pytest.approx((0.6, 1.1))
    assert settled(replace(clip, positive_share=0.7, order="low_first"), tokens) == pytest.approx((0.6, 1.0))


def test_settled_bounds_are_used_and_reported() -> None:
    batch = batch_of([1.0, -1.0, 1.0, 1.0, 1.0])
    surrogate = replace(SEARCH, settled=(0.9, 1.6))(batch, token_units(batch), RATIO)
    assert surrogate.value.tolist() == pytest.approx([0.5, -0.9, 1.0, 1.5, 1.6])
    assert mean_of(surrogate, "bound_low") == pytest.approx(0.9)
    assert mean_of(surrogate, "bound_high") == pytest.approx(1.6)


@pytest.mark.parametrize("wrong", [{"low_end": 0.4}, {"high_end": 0.9}])
def test_search_must_end_above_its_start(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="_start"):
        replace(SEARCH, **wrong)  # type: ignore[arg-type]
