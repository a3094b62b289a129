"""Comparison of an objective with its plain-Python reference."""

import torch

from espo_core.objectives import Objective
from tests.espo_core.objectives.reference import Expected
from tests.espo_core.objectives.rollouts import Response, gradient_of, token_batch

# Nearer to a bound than this, float32 may clip where float64 does not; such batches say nothing.
FLOAT32_MARGIN = 3e-6


def assert_agrees(objective: Objective, responses: list[Response], expected: Expected) -> None:
    """Value and gradient agree to 1e-12 in float64, and to 1e-5 in float32 where no ratio is at a bound."""
    _assert_agrees(objective, responses, expected, torch.float64, 1e-12)
    if expected.margin > FLOAT32_MARGIN:
        _assert_agrees(objective, responses, expected, torch.float32, 1e-5)


def _assert_agrees(
    objective: Objective, responses: list[Response], expected: Expected, dtype: torch.dtype, tolerance: float
) -> None:
    batch = token_batch(responses, dtype)
    loss = objective(batch).loss
    gradient = gradient_of(loss, batch).double()
    wanted = torch.tensor(expected.gradient, dtype=torch.float64)
    assert loss.dtype == dtype
    # A loss is a sum of terms of both signs: its error scales with the terms, whose size the advantages set.
    assert abs(loss.item() - expected.loss) <= tolerance * max(1.0, abs(expected.loss))
    assert float((gradient - wanted).abs().max()) <= tolerance * float(wanted.abs().max().clamp(min=1e-30))
