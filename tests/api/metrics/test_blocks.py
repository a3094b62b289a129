"""Blocks of steps against the steps themselves."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from api.metrics.blocks import CHUNK, SMALLEST, block_of, chunk_blocks, cover, joined, size_for
from api.metrics.steps import StepMetrics


def step(number: int, non_finite: dict[str, str] | None = None, **values: float | None) -> StepMetrics:
    return StepMetrics(step=number, time=0.0, attempt=1, values=values, non_finite=non_finite or {})


def test_a_block_has_the_extremes_in_the_order_of_their_steps() -> None:
    rows = [step(7, a=2.0, b=1.0), step(8, a=3.0), step(9, a=-1.0, b=1.0), step(10, a=0.0)]
    assert block_of(rows)["values"] == {"a": [8, 3.0, 9, -1.0], "b": [7, 1.0]}


def test_a_block_has_the_first_null_of_a_metric() -> None:
    rows = [step(1, a=1.0), step(2, {"a": "nan"}, a=None), step(3, {"a": "inf"}, a=None)]
    assert block_of(rows) == {"values": {"a": [1, 1.0]}, "non_finite": {"a": [2, "nan"]}}


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
    rows = noise(300)
    assert joined(block_of(rows[:130]), block_of(rows[130:])) == block_of(rows)
    assert joined(block_of([]), block_of(rows)) == block_of(rows) == joined(block_of(rows), block_of([]))


def test_blocks_of_a_chunk() -> None:
    rows = [row for row in noise(2 * CHUNK) if row.step >= CHUNK and row.step % 40 > 20]
    blocks = chunk_blocks(rows, CHUNK)
    assert len(blocks) == 16 + 8 + 4 + 2 + 1
    for (size, start), block in blocks.items():
        assert block == block_of([row for row in rows if start <= row.step < start + size])


@pytest.mark.parametrize(
    ("start", "stop", "size"), [(0, 1024, 64), (5, 1023, 256), (40, 47, 64), (250, 260, 512), (7, 7, 16)]
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
    for steps in (4 * most + 1, 50_000, 1_000_000, 10_000_000):
        size = size_for(steps, most)
        if size > 1:
            assert steps / size <= max(most, 10)
            assert size == SMALLEST or steps / size > most / 2
        else:
            assert steps <= 4 * most
