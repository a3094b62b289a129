"""What the lines say: outcomes of runs by stage, row and pair, and paired comparisons of rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.evidence.lines import Line
from bench.evidence.plan import Planned
from bench.evidence.statistics import Paired, holm, paired

PairName = tuple[str, int]
"""Base model and seed."""
Rows = dict[str, dict[PairName, Line]]
Outcome = Callable[[Line], float]
WINDOW, EDGE = 5, 10
"""Batches that a learning curve is smoothed over, and that make its first and its last level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A row against another, with its p-value corrected within the family."""

    row: str
    reference: str
    difference: Paired
    corrected: float


def by_stage(planned: Iterable[Planned], lines: Mapping[str, Line]) -> dict[str, Rows]:
    """The finished runs: stage, row, pair."""
    found: dict[str, Rows] = {}
    for one in planned:
        if one.trial.key in lines:
            name = (one.trial.pair.base, one.trial.pair.seed)
            found.setdefault(one.stage, {}).setdefault(one.row, {})[name] = lines[one.trial.key]
    return found


def held_out(line: Line) -> float:
    """Accuracy after the last batch; 0 for a run that broke off."""
    return float(line.get("held_out") or 0.0)


def area(line: Line) -> float:
    """Mean reward over the run."""
    return statistics.fmean(line["reward"])


def curve_mean(name: str) -> Outcome:
    """The mean of a curve over the run."""

    def outcome(line: Line) -> float:
        return statistics.fmean(value for value in line["curves"][name] if value is not None)

    return outcome


def last_entropy(line: Line) -> float:
    """Entropy of the last batches."""
    return float(line["curves"]["entropy"][-1])


def smoothed(line: Line) -> list[float]:
    """Means of the last WINDOW rewards at each batch from the WINDOW-th on."""
    rewards = line["reward"]
    return [statistics.fmean(rewards[end - WINDOW : end]) for end in range(WINDOW, len(rewards) + 1)] or [
        statistics.fmean(rewards)
    ]


def thresholds(rows: Rows) -> dict[PairName, float]:
    """For each pair the level half-way between the first and the last rewards of all its rows."""
    levels: dict[PairName, list[float]] = {}
    for pairs in rows.values():
        for name, line in pairs.items():
            first, last = line["reward"][:WINDOW], line["reward"][-EDGE:]
            levels.setdefault(name, []).append((statistics.fmean(first) + statistics.fmean(last)) / 2)
    return {name: statistics.fmean(values) for name, values in levels.items()}


def rollouts_to(line: Line, threshold: float) -> float:
    """Rollouts until the smoothed reward passes the threshold; the whole budget where it never does."""
    each = line["rollouts"] / len(line["reward"])
    for place, level in enumerate(smoothed(line)):
        if level >= threshold:
            return float(each * (place + WINDOW))
    return float(line["rollouts"])


def difference(rows: Rows, row: str, reference: str, outcome: Outcome) -> Paired | None:
    """Row minus reference over the pairs that both have; None where there is none."""
    ours, theirs = rows.get(row, {}), rows.get(reference, {})
    both = [name for name in ours if name in theirs]
    return paired([outcome(ours[name]) - outcome(theirs[name]) for name in both]) if both else None


def against(rows: Rows, reference: str, outcome: Outcome) -> list[Comparison]:
    """Every other row against a reference, one family."""
    family = {
        row: one for row in rows if row != reference and (one := difference(rows, row, reference, outcome))
    }
    corrected = holm({row: one.p for row, one in family.items()})
    return [
        Comparison(row=row, reference=reference, difference=one, corrected=corrected[row])
        for row, one in family.items()
    ]


def against_all(rows: Rows, row: str, outcome: Outcome) -> list[Comparison]:
    """A row against every other, one family."""
    family = {other: one for other in rows if other != row and (one := difference(rows, row, other, outcome))}
    corrected = holm({other: one.p for other, one in family.items()})
    return [
        Comparison(row=row, reference=other, difference=one, corrected=corrected[other])
        for other, one in family.items()
    ]
