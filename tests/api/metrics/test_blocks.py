"""Blocks of steps against the steps themselves."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from api.metrics.blocks import RANGES, SMALLEST, block_of, cover, joined, size_for
from api.metrics.steps import StepMetrics


def step(number: int, non_finite: dict[str, str] | None = None, **values: float | None) -> StepMetrics:
    return StepMetrics(step=number, time=0.0, attempt=1, values=values, non_finite=non_finite or {})


def test_a_block_has_the_extremes_of_its_ranges_in_the_order_of_their_steps() -> None:
    # Ranges of 16 steps: up to 15, up to 31.
    rows = [step(7, a=2.0, b=1.0), step(8, a=3.0), step(9, a=-1.0, b=1.0), step(15, a=0.0), step(16, a=9.0)]
    assert block_of(rows, 256)["values"] == {"a": [[8, 9, 16], [3.0, -1.0, 9.0]], "b": [[7], [1.0]]}


def test_a_block_has_the_first_null_of_a_range() -> None:
    rows = [step(1, a=1.0), step(2, {"a": "nan"}, a=None), step(3, {"a": "inf"}, a=None)]
    rows.append(step(17, {"a": "-inf"}, a=None))
    nulls = {"a": [[2, 17], ["nan", "-inf"]]}
    assert block_of(rows, 256) == {"values": {"a": [[1], [1.0]]}, "non_finite": nulls}


def noise(count: int) -> list[StepMetrics]:
    """Steps of a dense and a sparse metric, some not finite."""
    draw = random.Random(count)
    rows = [step(number, dense=draw.gauss(0, 1)) for number in range(count)]
    for row in rows[::7]:
        row.values["sparse"] = draw.gauss(0, 1)
    for row in rows[50::90]:
        row.values["dense"], row.non_finite["dense"] = None, "nan"
    return rows


def test_a_joined_block_is_the_block_of_all_steps() -> None:
    rows = noise(1024)
    quarters = [block_of(rows[start : start + 256], 256) for start in range(0, 1024, 256)]
    halves = [joined(*quarters[:2], 512), joined(*quarters[2:], 512)]
    assert halves == [block_of(rows[:512], 512), block_of(rows[512:], 512)]
    assert joined(*halves, 1024) == block_of(rows, 1024)
    empty = block_of([], 512)
    assert joined(empty, halves[1], 1024) == block_of(rows[512:], 1024)
    assert joined(halves[0], empty, 1024) == block_of(rows[:512], 1024)


@pytest.mark.parametrize(
    ("start", "stop", "size"),
    [(0, 16384, 1024), (5, 16383, 4096), (640, 747, 1024), (250, 560, 512), (7, 7, 256)],
)
def test_a_cover_has_every_step_once_in_blocks_that_exist(start: int, stop: int, size: int) -> None:
    parts = list(cover(start, stop, size))
    assert [step for _, first, after in parts for step in range(first, after)] == list(range(start, stop))
    for part, first, after in parts:
        assert part <= size
        if part == 1:
            assert after - first < SMALLEST
        else:
            assert part >= SMALLEST
            assert first % part == after % part == 0
    assert all(before[2] == following[1] for before, following in pairwise(parts))


@pytest.mark.parametrize("most", [3, 500, 1000, 100_000])
def test_a_page_reads_few_blocks(most: int) -> None:
    for steps in (3 * most + 1, 50_000, 1_000_000, 10_000_000):
        size = size_for(steps, most)
        ranges = RANGES * steps / size
        if size > 1:
            assert ranges <= max(most, 40)
            assert size == SMALLEST or ranges > most / 2
        else:
            assert steps <= 3 * most
