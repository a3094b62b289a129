"""Fewer points that draw the same curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of the points that are kept, at most this share are nulls: markers of trouble, but not the curve.
_NULL_SHARE = 4


def thin(xs: Sequence[float], ys: Sequence[float], most: int) -> Sequence[int]:
    """Indices of at most `most` points, in order; a NaN stands for a null and is kept as one.

    First and last point of the curve are always among them.
    """
    if len(xs) <= most:
        return range(len(xs))
    curve = [index for index, y in enumerate(ys) if math.isfinite(y)]
    nulls = _evenly([index for index, y in enumerate(ys) if not math.isfinite(y)], most // _NULL_SHARE)
    picked = lttb([xs[index] for index in curve], [ys[index] for index in curve], most - len(nulls))
    return sorted([*nulls, *(curve[index] for index in picked)])


def _evenly(items: list[int], most: int) -> list[int]:
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def lttb(xs: Sequence[float], ys: Sequence[float], most: int) -> Sequence[int]:
    """Indices by Largest-Triangle-Three-Buckets (Steinarsson 2013): of each bucket the point that spans the
    largest triangle with the point picked before and the next bucket's mean."""
    if len(xs) <= most or most < 3:
        return range(len(xs))[: max(most, 0)]
    width = (len(xs) - 2) / (most - 2)
    edges = [1 + int(width * bucket) for bucket in range(most - 1)] + [len(xs)]
    picked = [0]
    for bucket in range(most - 2):
        here = range(edges[bucket], edges[bucket + 1])
        following = slice(edges[bucket + 1], max(edges[bucket + 2], edges[bucket + 1] + 1))
        picked.append(_farthest(xs, ys, here, picked[-1], _mean(xs[following], ys[following])))
    return [*picked, len(xs) - 1]


def _mean(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    return sum(xs) / len(xs), sum(ys) / len(ys)


def _farthest(
    xs: Sequence[float], ys: Sequence[float], bucket: range, before: int, after: tuple[float, float]
) -> int:
    x0, y0 = xs[before], ys[before]
    dx, dy = x0 - after[0], after[1] - y0
    return max(bucket, key=lambda index: abs(dx * (ys[index] - y0) - (x0 - xs[index]) * dy))
