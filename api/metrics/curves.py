"""Curves put together from steps and from blocks of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping, MutableSequence, Sequence, Set
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from api.metrics.blocks import Block, block_of
from api.metrics.downsample import thin
from api.metrics.steps import StepMetrics


@dataclass(slots=True)
class Curve:
    """Points of one metric."""

    steps: MutableSequence[int]
    values: MutableSequence[float]
    non_finite: dict[int, str] = field(default_factory=dict)

    def shown(self, most: int) -> dict[str, Any]:
        """The curve by at most `most` points."""
        kept = thin(self.steps, self.values, most)
        steps = [self.steps[index] for index in kept]
        values = [None if math.isnan(value := self.values[index]) else value for index in kept]
        marks = {str(step): self.non_finite[step] for step in steps if step in self.non_finite}
        return {"steps": steps, "values": values, "non_finite": marks}


class Curves:
    """Curves by metric, of all metrics or of some; what is added follows what is there.

    Work is done by metric and not by step: a page of twenty metrics is some ten thousand points. Whole curves
    take 16 bytes a point. Those from blocks have few points, however long the job; there the speed counts.
    """

    def __init__(self, names: Collection[str], *, size: int) -> None:
        self._names = frozenset(names)
        self._size = size
        self._curves: dict[str, Curve] = {}
        self._last_step: int | None = None

    def add_steps(self, rows: Sequence[StepMetrics]) -> None:
        """Appends what steps measured; with blocks, as a block of them would. The last is always whole."""
        if self._size > 1:
            self.add_blocks([block_of(rows[:-1], self._size)])
            rows = rows[-1:]
        self._add_whole(rows)
        self._last_step = rows[-1].step if rows else self._last_step

    def _add_whole(self, rows: Sequence[StepMetrics]) -> None:
        # Neighbours have the same metrics, so that a column is a matter of `zip`.
        for names, group in groupby(rows, lambda row: tuple(row.values)):
            alike = list(group)
            steps, wanted = [row.step for row in alike], self._wanted(set(names))
            columns = zip(*(row.values.values() for row in alike), strict=True)
            for name, column in zip(names, columns, strict=True):
                if name in wanted:
                    curve = self._curve(name)
                    curve.steps.extend(steps)
                    curve.values.extend(column if None not in column else map(_number, column))
        for row in rows:
            for name in self._wanted(row.non_finite.keys()):
                self._curve(name).non_finite[row.step] = row.non_finite[name]

    def add_blocks(self, blocks: Sequence[Block]) -> None:
        """Appends the points that blocks have in place of their steps."""
        for block in blocks:
            for name in self._wanted(block["values"].keys()):
                curve, (steps, values) = self._curve(name), block["values"][name]
                curve.steps.extend(steps)
                curve.values.extend(values)
            for name in self._wanted(block["non_finite"].keys()):
                self._add_nulls(name, dict(zip(*block["non_finite"][name], strict=True)))

    def last_step(self, default: int) -> int:
        """The last step that was added; `default` where there is none."""
        return default if self._last_step is None else self._last_step

    def shown(self, most: int) -> dict[str, Any]:
        """Every curve by at most `most` points."""
        return {name: self._curves[name].shown(most) for name in sorted(self._curves)}

    def _wanted(self, names: Set[str]) -> Set[str]:
        return self._names & names if self._names else names

    def _curve(self, name: str) -> Curve:
        found = self._curves.get(name)
        if found is None:
            is_whole = self._size == 1
            found = Curve(array("q") if is_whole else [], array("d") if is_whole else [])
            self._curves[name] = found
        return found

    def _add_nulls(self, name: str, spellings: Mapping[int, str]) -> None:
        """Puts nulls where they belong among the points."""
        curve = self._curve(name)
        curve.non_finite.update(spellings)
        nulls = [(step, math.nan) for step in spellings]
        points = sorted([*zip(curve.steps, curve.values, strict=True), *nulls])
        curve.steps, curve.values = [step for step, _ in points], [value for _, value in points]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
