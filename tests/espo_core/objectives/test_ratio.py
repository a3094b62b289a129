"""Ratios of tokens and units by hand: their values, who carries the gradient, and what a gate cuts off."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.ratio import (
    ArctanGate,
    ClippedMean,
    GatedMean,
    Ratio,
    RatioPart,
    SigmoidGate,
    carried_by_current,
    carried_by_old,
    geometric_mean,
    token_ratio,
)
from espo_core.objectives.units import sequence_units

LOGS = [math.log(4), 0.0, math.log(0.5)]
"""Log-ratios of a response of two tokens, whose mean ratio is 2, and of one of a single token."""


@pytest.fixture
def batch() -> TokenBatch:
    logp_old = torch.tensor([-3.0, -2.0, -1.0], dtype=torch.float64)
    return TokenBatch(
        logp=(logp_old + torch.tensor(LOGS, dtype=torch.float64)).requires_grad_(),
        logp_old=logp_old,
        entropy_old=torch.zeros_like(logp_old),
        response=torch.tensor([0, 0, 1]),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        vocab_size=19,
    )


def jacobian(ratio: Ratio, batch: TokenBatch) -> list[list[float]]:
    """d s_t / d log π_u for every t and u."""
    rows = [torch.autograd.grad(one, batch.logp, retain_graph=True)[0] for one in ratio.value]
    return [row.tolist() for row in rows]


@pytest.mark.parametrize(
    ("part", "value", "slopes"),
    [
        (token_ratio, [4, 1, 0.5], [[4, 0, 0], [0, 1, 0], [0, 0, 0.5]]),
        (geometric_mean, [2, 2, 0.5], [[1, 1, 0], [1, 1, 0], [0, 0, 0.5]]),
        (carried_by_current, [2, 2, 0.5], [[2, 0, 0], [0, 2, 0], [0, 0, 0.5]]),
        (carried_by_old, [8, 2, 0.25], [[8, 0, 0], [0, 2, 0], [0, 0, 0.25]]),
    ],
)
def test_values_and_slopes(
    batch: TokenBatch, part: RatioPart, value: list[float], slopes: list[list[float]]
) -> None:
    ratio = part(batch, sequence_units(batch))
    assert ratio.value.tolist() == pytest.approx(value)
    for found, wanted in zip(jacobian(ratio, batch), slopes, strict=True):
        assert found == pytest.approx(wanted)
    assert ratio.removed_low is ratio.removed_high is None


def flags(mask: Tensor | None) -> list[bool]:
    assert mask is not None
    return mask.tolist()


def test_clipped_mean_cuts_only_what_would_earn_more(batch: TokenBatch) -> None:
    """At a bound of 0.7 a good response's log 4 counts as 0.7, and a bad one's log 0.5 is just inside."""
    part = ClippedMean(log_bound=0.7)
    ratio = part(batch, sequence_units(batch))
    assert ratio.value.tolist() == pytest.approx([math.exp(0.35), math.exp(0.35), 0.5])
    assert (flags(ratio.removed_low), flags(ratio.removed_high)) == ([False] * 3, [True, False, False])
    turned = replace(batch, advantage=-batch.advantage)
    other = ClippedMean(log_bound=0.5)(turned, sequence_units(turned))
    assert other.value.tolist() == pytest.approx([2, 2, 0.5])
    assert not any(flags(other.removed_low) + flags(other.removed_high))


def test_gates_at_the_old_policy(batch: TokenBatch) -> None:
    """The sigmoid's is log(2/τ) with slope 1/2 · τ, the arctangent's 0 with slope 1."""
    log = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    sigmoid = SigmoidGate(temperature_positive=2.0, temperature_negative=4.0)(batch, log)
    assert sigmoid.tolist() == pytest.approx([0, 0, math.log(0.5)])
    assert torch.autograd.grad(sigmoid.sum(), log)[0].tolist() == pytest.approx([1, 1, 2])
    arctan = ArctanGate(kappa=3.0)(batch, log)
    assert arctan.tolist() == [0, 0, 0]
    assert torch.autograd.grad(arctan.sum(), log)[0].tolist() == pytest.approx([1, 1, 1])


def test_gates_are_bounded_however_far_a_token_has_moved(batch: TokenBatch) -> None:
    log = torch.tensor([50.0, -50.0, 3.0], dtype=torch.float64)
    assert float(ArctanGate(kappa=2.0)(batch, log).abs().max()) <= math.pi / 4
    sigmoid = SigmoidGate(temperature_positive=1.0, temperature_negative=1.0)(batch, log)
    assert float(sigmoid.max()) == pytest.approx(math.log(4))
    assert bool(sigmoid.isfinite().all())


def test_gated_mean_is_the_mean_of_the_gates(batch: TokenBatch) -> None:
    def doubled(_: TokenBatch, log: Tensor) -> Tensor:
        return 2 * log

    ratio = GatedMean(gate=doubled)(batch, sequence_units(batch))
    assert ratio.value.tolist() == pytest.approx([4, 4, 0.25])
