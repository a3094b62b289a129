"""Segmented sums, means, extremes, ranks and running values, an empty segment among them."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espo_core.objectives.segments import (
    floor_product,
    segment_mean,
    segment_min,
    segment_position,
    segment_rank,
    segment_running_max,
    segment_running_sum,
    segment_size,
    segment_sum,
    unsorted,
)

SEGMENT = torch.tensor([0, 0, 2, 2, 2])
VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0, 8.0], dtype=torch.float64)


def test_sum_mean_size_and_extremes() -> None:
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


def test_of_equal_values_the_later_ranks_lower() -> None:
    values = torch.tensor([5.0, 5.0, 1.0, 5.0, 5.0])
    assert segment_rank(values, segment=SEGMENT, segments=4).tolist() == [1, 0, 0, 2, 1]


rows = st.lists(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 3.0]), max_size=6), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(rows=rows.filter(any))
def test_ranks_and_running_values_agree_with_a_loop(rows: list[list[float]]) -> None:
    values = torch.tensor(list(itertools.chain(*rows)), dtype=torch.float64)
    segment = torch.tensor([i for i, row in enumerate(rows) for _ in row])
    ranks = [
        sorted(range(len(row)), key=lambda t: (row[t], -t)).index(u) for row in rows for u in range(len(row))
    ]
    sums = [sum(row[:t]) for row in rows for t in range(len(row))]
    peaks = [max(row[:t], default=-torch.inf) for row in rows for t in range(len(row))]
    assert segment_rank(values, segment=segment, segments=len(rows)).tolist() == ranks
    assert segment_running_sum(values, segment=segment, segments=len(rows)).tolist() == sums
    found = segment_running_max(values, segment=segment, segments=len(rows)).tolist()
    assert found == pytest.approx(peaks, abs=1e-12)


def test_unsorted_puts_values_back() -> None:
    order = torch.tensor([2, 0, 1])
    assert unsorted(torch.tensor([10, 20, 30])[order], order).tolist() == [10, 20, 30]


@pytest.mark.parametrize("share", [0.1, 0.29, 0.57, 0.58, 0.7, 0.999999])
def test_floor_of_a_product_is_exact(share: float) -> None:
    count = torch.arange(0, 1001)
    wanted = [int(Fraction(str(share)) * n) for n in range(1001)]
    assert floor_product(share, count).tolist() == wanted
