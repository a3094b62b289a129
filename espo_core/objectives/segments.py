"""Sums, means and positions over segments of a packed tensor: the only ones in the package.

Legend: N elements, S segments; `segment` [N] int64 names the segment of each element.
"""

from fractions import Fraction

import torch
from torch import Tensor


def segment_sum(values: Tensor, *, segment: Tensor, segments: int) -> Tensor:
    """[S] sum of the values [N] in each segment; 0 where a segment is empty."""
    return values.new_zeros(segments).index_add(0, segment, values)


def segment_mean(values: Tensor, *, segment: Tensor, size: Tensor) -> Tensor:
    """[S] mean of the values [N] in each segment, whose sizes [S] are given; 0 where a segment is empty."""
    total = segment_sum(values, segment=segment, segments=size.shape[0])
    return total / size.clamp(min=1).to(values.dtype)


def segment_size(segment: Tensor, *, segments: int) -> Tensor:
    """[S] int64 number of elements in each segment."""
    return torch.zeros(segments, dtype=torch.int64, device=segment.device).index_add(
        0, segment, torch.ones_like(segment)
    )


def segment_min(values: Tensor, *, segment: Tensor, segments: int) -> Tensor:
    """[S] smallest of the values [N] in each segment; +inf where a segment is empty."""
    return values.new_full((segments,), torch.inf).scatter_reduce(0, segment, values, "amin")


def segment_position(segment: Tensor, *, segments: int) -> Tensor:
    """[N] int64 position, from 0, of each element within its segment; `segment` must be non-decreasing."""
    size = segment_size(segment, segments=segments)
    start = size.cumsum(0) - size
    return torch.arange(segment.shape[0], device=segment.device) - start[segment]


def segment_rank(values: Tensor, *, segment: Tensor, segments: int) -> Tensor:
    """[N] int64 rank, from 0, of each value in the ascending order of its segment.

    Of equal values the later element ranks lower; `segment` must be non-decreasing.
    """
    latest_first = torch.arange(len(values) - 1, -1, -1, device=values.device)
    by_value = latest_first[values[latest_first].argsort(stable=True)]
    order = by_value[segment[by_value].argsort(stable=True)]
    return unsorted(segment_position(segment[order], segments=segments), order)


def segment_running_sum(values: Tensor, *, segment: Tensor, segments: int) -> Tensor:
    """[N] sum of the values before each element in its segment; `segment` must be non-decreasing."""
    before = values.cumsum(0) - values
    size = segment_size(segment, segments=segments)
    start = (size.cumsum(0) - size).clamp(max=len(values) - 1)
    return before - before[start][segment]


def segment_running_max(values: Tensor, *, segment: Tensor, segments: int) -> Tensor:
    """[N] largest of the values before each element in its segment; -inf for the first of each.

    `segment` must be non-decreasing.
    """
    position = segment_position(segment, segments=segments)
    previous = values.roll(1).masked_fill(position == 0, -torch.inf)
    # Lifted by more than the whole range a segment, no earlier segment reaches into a later one.
    step = values.max() - values.min() + 1
    lift = segment * step
    lifted = torch.where(position == 0, values.min() - step, previous) + lift
    running = lifted.cummax(0).values - lift
    return torch.where(position == 0, -torch.inf, running)


def unsorted(values: Tensor, order: Tensor) -> Tensor:
    """[N] values given in the order `order` [N] of their elements, put back in the original one."""
    return torch.empty_like(values).scatter(0, order, values)


def floor_product(share: float, count: Tensor) -> Tensor:
    """[N] ⌊share · count⌋ in integers: 0.57 · 100 is 57, where the floating product is a hair under it."""
    exact = Fraction(repr(share)).limit_denominator(1_000_000)
    return count * exact.numerator // exact.denominator
