"""Comparison of an objective with its plain-Python reference."""

import pytest
import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives import Objective
from tests.espo_core.objectives.references.expected import Expected, Reference
from tests.espo_core.objectives.rollouts import Response, random_responses, token_batch

# Nearer to a bound than this, float32 may clip where float64 does not; such batches say nothing.
FLOAT32_MARGIN = 3e-6
SEEDS = range(8)
CLIPPED = {"low", "high", "inside", "outside and kept", "zero"}
"""Every branch of PPO-min."""


def assert_agrees(objective: Objective, responses: list[Response], expected: Expected) -> None:
    """Value, gradients and metrics agree to 1e-12 in float64, value and gradients to 1e-5 in float32 where no
    ratio is at a bound."""
    batch = token_batch(responses)
    found = _assert_agrees(objective, batch, expected, 1e-12)
    for name, wanted in expected.metrics(responses).items():
        assert found[name] == pytest.approx(wanted, rel=1e-12, abs=1e-15), name
    if expected.margin > FLOAT32_MARGIN:
        _assert_agrees(objective, token_batch(responses, torch.float32), expected, 1e-5)


def assert_agrees_on_random_batches(
    objective: Objective, reference: Reference, parameters: dict[str, object], *, spread: float = 0.03
) -> None:
    """`assert_agrees` on a batch of every seed."""
    for seed in SEEDS:
        responses = random_responses(seed, count=16, spread=spread)
        assert_agrees(objective, responses, reference(responses, **parameters))


def branches_of(reference: Reference, *, spread: float = 0.03, **parameters: object) -> set[str]:
    """The branches that a reference takes on the batches of `assert_agrees_on_random_batches`."""
    batches = [random_responses(seed, count=16, spread=spread) for seed in SEEDS]
    found = [reference(responses, **parameters) for responses in batches]
    # Half of the batches at least must have been compared in float32 too.
    assert sum(one.margin > FLOAT32_MARGIN for one in found) >= len(SEEDS) / 2
    return set().union(*(one.branches for one in found))


def _assert_agrees(
    objective: Objective, batch: TokenBatch, expected: Expected, tolerance: float
) -> dict[str, float]:
    out = objective(batch)
    assert out.loss.dtype == batch.logp.dtype
    # A loss is a sum of terms of both signs: its error scales with the terms, whose size the advantages set.
    assert abs(out.loss.item() - expected.loss) <= tolerance * max(1.0, abs(expected.loss))
    gradients = torch.autograd.grad(out.loss, (batch.logp, batch.entropy), allow_unused=True)
    _assert_close(gradients[0], expected.gradient, tolerance)
    if expected.entropy_gradient or gradients[1] is not None:
        _assert_close(gradients[1], expected.entropy_gradient, tolerance)
    return out.metrics


def _assert_close(gradient: Tensor, expected: list[float], tolerance: float) -> None:
    wanted = torch.tensor(expected, dtype=torch.float64)
    largest = float(wanted.abs().max())
    assert float((gradient.double() - wanted).abs().max()) <= tolerance * largest
