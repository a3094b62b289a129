"""Sums, means and positions over segments of a packed tensor: the only ones in the package.

Legend: N elements, S segments; `segment` [N] int64 names the segment of each element.
"""

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
