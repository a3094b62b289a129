from __future__ import annotations

import itertools
import math
import random

import pytest

from api.metrics.downsample import lttb, thin


def test_a_short_curve_stays_whole() -> None:
    assert list(thin([1, 2, 3], [0.0, math.nan, 1.0], 3)) == [0, 1, 2]


def test_a_triangle_is_found_by_hand() -> None:
    # One bucket of two: with (0, 0) before and (3, 0) after, the point (2, 5) spans the larger triangle.
    assert list(lttb([0, 1, 2, 3], [0.0, 1.0, 5.0, 0.0], 3)) == [0, 2, 3]


def shoelace(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Area of a triangle."""
    return abs(a[0] * (b[1] - c[1]) + b[0] * (c[1] - a[1]) + c[0] * (a[1] - b[1])) / 2


def by_the_book(points: list[tuple[float, float]], most: int) -> list[int]:
    """Steinarsson's procedure, word for word: buckets, means, areas."""
    width = (len(points) - 2) / (most - 2)
    starts = [1 + int(width * bucket) for bucket in range(most - 1)]
    buckets = [list(range(a, b)) for a, b in itertools.pairwise(starts)]
    picked = [0]
    for bucket, following in zip(buckets, [*buckets[1:], [len(points) - 1]], strict=True):
        mean_x = sum(points[index][0] for index in following) / len(following)
        mean_y = sum(points[index][1] for index in following) / len(following)
        areas = {i: shoelace(points[picked[-1]], points[i], (mean_x, mean_y)) for i in bucket}
        picked.append(max(areas, key=lambda index: areas[index]))
    return [*picked, len(points) - 1]


@pytest.mark.parametrize(("count", "most"), [(1000, 100), (1000, 999), (50, 3), (101, 40)])
def test_it_picks_the_largest_triangles(count: int, most: int) -> None:
    noise = random.Random(count)
    ys = [math.sin(x / 20) + noise.gauss(0, 0.3) for x in range(count)]
    picked = list(lttb(range(count), ys, most))
    assert picked == by_the_book(list(enumerate(ys)), most)
    assert len(set(picked)) == most


def test_ends_and_a_spike_survive() -> None:
    ys = [0.0] * 10_000
    ys[7_123] = 100.0
    kept = thin(range(10_000), ys, 50)
    assert (kept[0], kept[-1], len(kept)) == (0, 9_999, 50)
    assert 7_123 in kept


def test_nulls_are_kept_as_markers_within_the_bound() -> None:
    ys = [float(x) for x in range(1000)]
    ys[500] = math.nan
    assert 500 in thin(range(1000), ys, 20)
    ys = [math.nan if x % 2 else float(x) for x in range(1000)]
    kept = thin(range(1000), ys, 20)
    assert len(kept) == 20
    assert sum(math.isnan(ys[index]) for index in kept) == 5


def test_a_curve_of_nulls_only() -> None:
    assert 1 <= len(thin(range(100), [math.nan] * 100, 8)) <= 8
