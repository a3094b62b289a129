"""Blocks of steps: what a page shows of them instead of every step.

A block of `size` steps has RANGES equally wide ranges, and of each metric the lowest and the highest value in
each range, in the order of their steps. A metric that was NaN or infinite has the first such step of a range.
A block of twice the size follows from two blocks exactly as from their steps.

As JSON it is `{"values": {name: [[step, …], [value, …]]}, "non_finite": {name: [[step, …], ["nan", …]]}}`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from api.metrics.steps import StepMetrics

RANGES = 16
SMALLEST, LARGEST = 256, 1 << 22
SIZES = tuple(1 << power for power in range(SMALLEST.bit_length() - 1, LARGEST.bit_length()))
"""Each is twice the one before."""

Points = list[list[Any]]
Block = dict[str, dict[str, Points]]


def block_of(steps: Sequence[StepMetrics], size: int) -> Block:
    """The block of these steps, which are some or all of one block's."""
    values: dict[str, Points] = {}
    non_finite: dict[str, Points] = {}
    for row in steps:
        for name, value in row.values.items():
            if value is not None:
                _append(values, name, row.step, value)
        for name, spelling in row.non_finite.items():
            _append(non_finite, name, row.step, spelling)
    return _reduced({"values": values, "non_finite": non_finite}, size)


def joined(first: Block, second: Block, size: int) -> Block:
    """The block of this size that two of half its size make."""
    both: Block = {kind: {} for kind in first}
    for block in (first, second):
        for kind, curves in block.items():
            for name, (steps, values) in curves.items():
                points = both[kind].setdefault(name, [[], []])
                points[0] += steps
                points[1] += values
    return _reduced(both, size)


def _append(curves: dict[str, Points], name: str, step: int, value: float | str) -> None:
    points = curves.get(name)
    if points is None:
        points = curves[name] = [[], []]
    points[0].append(step)
    points[1].append(value)


def _reduced(block: Block, size: int) -> Block:
    width = size // RANGES
    return {
        "values": {name: _extremes(points, width) for name, points in block["values"].items()},
        "non_finite": {name: _firsts(points, width) for name, points in block["non_finite"].items()},
    }


def _extremes(points: Points, width: int) -> Points:
    """The points of the lowest and the highest value of each range; of equals the first."""
    steps, values = points
    kept: list[int] = []
    for start, stop in _ranges(steps, width):
        here = values[start:stop]
        kept += sorted({start + here.index(min(here)), start + here.index(max(here))})
    return _picked(points, kept)


def _firsts(points: Points, width: int) -> Points:
    return _picked(points, [start for start, _ in _ranges(points[0], width)])


def _picked(points: Points, kept: Sequence[int]) -> Points:
    return [[column[index] for index in kept] for column in points]


def _ranges(steps: Sequence[int], width: int) -> Iterator[tuple[int, int]]:
    """Yields where the points of each range begin and end, of the ranges that have some."""
    start = 0
    while start < len(steps):
        stop = bisect_left(steps, (steps[start] // width + 1) * width, start)
        yield start, stop
        start = stop


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
    """The size of blocks from which `most_points` of so many steps are drawn; 1 for no blocks.

    They have `most_points` ranges at most, and at least half as many.
    """
    if steps <= 3 * most_points:
        return 1
    return next((size for size in SIZES if RANGES * steps <= size * most_points), LARGEST)
