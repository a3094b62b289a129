from __future__ import annotations

import math
import random

import pytest

from api.metrics.downsample import extremes, thin


def test_a_short_curve_stays_whole() -> None:
    assert list(thin([1, 2, 3], [0.0, math.nan, 1.0], 3)) == [0, 1, 2]


def test_extremes_are_found_by_hand() -> None:
    # Between the ends two ranges of x, from 1 to 4 and from 5 to 9: in the first 5.0 is before 0.5.
    ys = [1.0, 5.0, 2.0, 0.5, 3.0, 1.0, 1.0, 9.0, 2.0, 0.0, 1.0]
    assert list(extremes(range(11), ys, 6)) == [0, 1, 3, 7, 9, 10]


def test_ranges_are_of_equal_width_however_many_points_they_have() -> None:
    # A hundred points up to 100, then one every hundred up to 1000.
    xs = [*range(100), *range(100, 1001, 100)]
    kept = [xs[index] for index in extremes(xs, [float(x % 10) for x in xs], 12)]
    assert len([x for x in kept if x < 200]) <= 4
    assert len([x for x in kept if x >= 200]) >= 4


@pytest.mark.parametrize(("count", "most"), [(1000, 100), (1000, 999), (50, 3), (101, 40), (9, 4)])
def test_no_extreme_is_lost(count: int, most: int) -> None:
    noise = random.Random(count)
    ys = [math.sin(x / 20) + noise.gauss(0, 0.3) for x in range(count)]
    kept = list(thin(range(count), ys, most))
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, count - 1)
    if most > 3:
        assert {ys.index(min(ys)), ys.index(max(ys))} <= set(kept)


def test_nulls_are_kept_as_markers_within_the_bound() -> None:
    ys = [float(x) for x in range(1000)]
    ys[500] = math.nan
    assert 500 in thin(range(1000), ys, 20)
    ys = [math.nan if x % 2 else float(x) for x in range(1000)]
    kept = thin(range(1000), ys, 20)
    assert 12 <= len(kept) <= 20
    assert sum(math.isnan(ys[index]) for index in kept) == 5


def test_a_curve_of_nulls_only() -> None:
    assert 1 <= len(thin(range(100), [math.nan] * 100, 8)) <= 8
