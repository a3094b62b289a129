"""Fewer points that draw the same curve."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

# Of the points that are kept, at most this share are nulls: markers of trouble, but not the curve.
_NULL_SHARE = 4


def thin(xs: Sequence[float], ys: Sequence[float], most: int) -> Sequence[int]:
    """Indices of at most `most` points, in order; a NaN stands for a null and is kept as one.

    The curve's first and last point are among them, and of each of equally wide ranges of x between the two
    its lowest and its highest, so that no spike is lost.
    """
    if len(xs) <= most:
        return range(len(xs))
    curve = [index for index, y in enumerate(ys) if math.isfinite(y)]
    nulls = _evenly([index for index, y in enumerate(ys) if not math.isfinite(y)], most // _NULL_SHARE)
    if nulls:
        xs, ys = [xs[index] for index in curve], [ys[index] for index in curve]
    picked = extremes(xs, ys, most - len(nulls))
    return sorted([*nulls, *(curve[index] for index in picked)]) if nulls else picked


def _evenly(items: list[int], most: int) -> list[int]:
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def extremes(xs: Sequence[float], ys: Sequence[float], most: int) -> Sequence[int]:
    """Indices of both ends and of the extremes of (most − 2) / 2 ranges between them; x rises."""
    last = len(xs) - 1
    if last < most or most < 2:
        return range(last + 1)[: max(most, 0)]
    ranges = (most - 2) // 2
    width = (xs[last] - xs[0]) / max(ranges, 1)
    edges = [1, *(bisect_left(xs, xs[0] + width * i, 1, last) for i in range(1, ranges)), last]
    picked = [0]
    for start, stop in pairwise(edges) if ranges else ():
        here = ys[start:stop]
        if here:
            low, high = here.index(min(here)), here.index(max(here))
            picked += [start + low] if low == high else sorted((start + low, start + high))
    return [*picked, last]
