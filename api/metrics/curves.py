"""Curves put together from steps and from blocks of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from api.metrics.blocks import Block
from api.metrics.downsample import thin
from api.metrics.steps import StepMetrics


@dataclass(slots=True)
class Curve:
    """Points of one metric; 16 bytes each, so that a long run of many metrics fits in memory."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
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

    Work is done by metric and not by step: a page of twenty metrics is some ten thousand points.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._curves: dict[str, Curve] = {}

    def add_steps(self, rows: Sequence[StepMetrics]) -> None:
        """Appends what steps measured."""
        for name in self._wanted(set().union(*(row.values for row in rows))):
            curve = self._curve(name)
            having = [row for row in rows if name in row.values]
            curve.steps.extend([row.step for row in having])
            curve.values.extend([_number(row.values[name]) for row in having])
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
        """The last step of any curve; `default` where there is none."""
        return max((curve.steps[-1] for curve in self._curves.values()), default=default)

    def shown(self, most: int) -> dict[str, Any]:
        """Every curve by at most `most` points."""
        return {name: self._curves[name].shown(most) for name in sorted(self._curves)}

    def _wanted(self, names: Set[str]) -> Set[str]:
        return self._names & names if self._names else names

    def _curve(self, name: str) -> Curve:
        return self._curves.setdefault(name, Curve())

    def _add_nulls(self, name: str, spellings: Mapping[int, str]) -> None:
        """Puts nulls where they belong among the points."""
        curve = self._curve(name)
        curve.non_finite.update(spellings)
        nulls = [(step, math.nan) for step in spellings]
        points = sorted([*zip(curve.steps, curve.values, strict=True), *nulls])
        curve.steps = array("q", [step for step, _ in points])
        curve.values = array("d", [value for _, value in points])


def _number(value: float | None) -> float:
    return math.nan if value is None else value
