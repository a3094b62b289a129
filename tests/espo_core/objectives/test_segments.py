"""Segmented sums, means, minima and positions, an empty segment among them."""

import torch

from espo_core.objectives.segments import (
    segment_mean,
    segment_min,
    segment_position,
    segment_size,
    segment_sum,
)

SEGMENT = torch.tensor([0, 0, 2, 2, 2])
VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0, 8.0], dtype=torch.float64)


def test_sum_mean_size_and_minimum() -> None:
    size = segment_size(SEGMENT, segments=4)
    assert size.tolist() == [2, 0, 3, 0]
    assert segment_sum(VALUES, segment=SEGMENT, segments=4).tolist() == [3, 0, 15, 0]
    assert segment_mean(VALUES, segment=SEGMENT, size=size).tolist() == [1.5, 0, 5, 0]
    assert segment_min(VALUES, segment=SEGMENT, segments=4).tolist() == [1, torch.inf, 3, torch.inf]


def test_position_starts_anew_in_each_segment() -> None:
    assert segment_position(SEGMENT, segments=4).tolist() == [0, 1, 0, 1, 2]


def test_mean_gives_each_value_its_share_of_the_gradient() -> None:
    values = VALUES.clone().requires_grad_()
    mean = segment_mean(values, segment=SEGMENT, size=segment_size(SEGMENT, segments=4))
    (gradient,) = torch.autograd.grad(mean @ torch.tensor([1.0, 7.0, 6.0, 7.0], dtype=torch.float64), values)
    assert gradient.tolist() == [0.5, 0.5, 2, 2, 2]
