"""Blocks of steps: what a page shows of them instead of every step.

A block is `{"values": {name: [step, value, …]}, "non_finite": {name: [step, "nan"]}}`: of each metric its
lowest and its highest value, in the order of their steps, and the first step at which it was not finite. A
block of twice the size follows from two blocks exactly as from their steps, because extremes of extremes are
extremes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.metrics.steps import StepMetrics

SMALLEST, CHUNK, LARGEST = 16, 256, 1 << 20
"""Sizes of blocks double from the smallest to the largest. A chunk is what is summarised at a time."""
SIZES = tuple(1 << power for power in range(SMALLEST.bit_length() - 1, LARGEST.bit_length()))

Block = dict[str, dict[str, list[Any]]]


def block_of(steps: Sequence[StepMetrics]) -> Block:
    """The block of these steps."""
    values: dict[str, list[Any]] = {}
    non_finite: dict[str, list[Any]] = {}
    for row in steps:
        for name, value in row.values.items():
            if value is not None:
                values.setdefault(name, []).extend((row.step, value))
        for name, spelling in row.non_finite.items():
            non_finite.setdefault(name, [row.step, spelling])
    return {"values": {name: _extremes(points) for name, points in values.items()}, "non_finite": non_finite}


def joined(first: Block, second: Block) -> Block:
    """The block of the steps of both, the second of which follow the first's."""
    values = {
        name: _extremes(first["values"].get(name, []) + second["values"].get(name, []))
        for name in first["values"] | second["values"]
    }
    return {"values": values, "non_finite": second["non_finite"] | first["non_finite"]}


def _extremes(points: list[Any]) -> list[Any]:
    """Of alternating steps and values, those of the lowest and the highest value; of equals the first."""
    values = points[1::2]
    low, high = values.index(min(values)), values.index(max(values))
    kept = sorted({low, high})
    return [part for index in kept for part in points[2 * index : 2 * index + 2]]


def chunk_blocks(steps: Sequence[StepMetrics], start: int) -> Mapping[tuple[int, int], Block]:
    """Blocks by size and start of the chunk that begins at `start`, from the smallest to its own size."""
    blocks: dict[tuple[int, int], Block] = {}
    for first in range(start, start + CHUNK, SMALLEST):
        blocks[SMALLEST, first] = block_of([row for row in steps if first <= row.step < first + SMALLEST])
    size = SMALLEST
    while size < CHUNK:
        for first in range(start, start + CHUNK, 2 * size):
            blocks[2 * size, first] = joined(blocks[size, first], blocks[size, first + size])
        size *= 2
    return blocks


def cover(start: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yields (size, from, to) in order: blocks of at most `size` that together are the steps from `start` to
    before `stop`. A size of 1 stands for steps that no block fits."""
    if size < SMALLEST:
        if start < stop:
            yield 1, start, stop
        return
    first, last = -(-start // size) * size, stop // size * size
    if first >= last:
        yield from cover(start, stop, size // 2)
        return
    yield from cover(start, first, size // 2)
    yield size, first, last
    yield from cover(last, stop, size // 2)


def size_for(steps: int, most_points: int) -> int:
    """The size of blocks, of two points a curve each, from which `most_points` are drawn; 1 for no blocks.

    There are `most_points` blocks at most, and at least half as many.
    """
    if steps <= 4 * most_points:
        return 1
    return next((size for size in SIZES if steps <= size * most_points), LARGEST)
