"""What the tuning chose: a function of the lines, written down before the confirming runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.evidence.lines import Line
from bench.evidence.trial import Method, Trial

LAST_STEPS = 10


def score(line: Line) -> float:
    """How good a run was: held-out accuracy and the reward of the last ten steps, half each.

    The second halves the noise of the first. A run that broke off scores 0.
    """
    if line["error"] is not None:
        return 0.0
    return float(line["held_out"] + statistics.fmean(line["reward"][-LAST_STEPS:])) / 2


def scores(trials: Iterable[Trial], lines: Mapping[str, Line]) -> dict[str, list[float]]:
    """Scores of the finished trials by method, as JSON of it."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.key in lines:
            found.setdefault(_named(trial.method), []).append(score(lines[trial.key]))
    return found


def best(trials: Sequence[Trial], lines: Mapping[str, Line]) -> Method | None:
    """The method of the highest mean score, of equals the first; None before all trials have ended."""
    if any(trial.key not in lines for trial in trials):
        return None
    means = {name: statistics.fmean(values) for name, values in scores(trials, lines).items()}
    return max((trial.method for trial in trials), key=lambda method: means[_named(method)])


def save(path: Path, chosen: Mapping[str, Any]) -> None:
    """Writes the choices down once; a later run keeps to them."""
    if not path.exists():
        path.write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")


def _named(method: Method) -> str:
    return json.dumps(asdict(method), sort_keys=True)
