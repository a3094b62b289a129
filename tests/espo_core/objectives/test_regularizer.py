"""The k3 estimate near and away from zero."""

import math

import pytest
import torch

from espo_core.objectives.regularizer import k3


def test_k3_by_hand() -> None:
    log_ratio = torch.tensor([0.0, math.log(2), -math.log(2)], dtype=torch.float64)
    assert k3(log_ratio).tolist() == pytest.approx([0, 1 - math.log(2), math.log(2) - 0.5])


def test_k3_keeps_its_digits_near_zero() -> None:
    """exp(x) - 1 - x in this order is off by a tenth in float32."""
    exact = 1e-6 / 2 + 1e-9 / 6
    assert k3(torch.tensor([1e-3], dtype=torch.float64)).item() == pytest.approx(exact, rel=1e-6)
    assert k3(torch.tensor([1e-3])).item() == pytest.approx(exact, rel=3e-4)
