"""What the tuning chose: a function of the lines, written down before the confirming runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

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


def scores(trials: Iterable[Trial], lines: Mapping[str, Line]) -> list[tuple[Method, list[float]]]:
    """Methods with the scores of their finished trials, in the order of the trials."""
    found: list[tuple[Method, list[float]]] = []
    for trial in trials:
        if trial.key in lines:
            mine = next((values for method, values in found if method == trial.method), None)
            if mine is None:
                found.append((trial.method, mine := []))
            mine.append(score(lines[trial.key]))
    return found


def best(trials: Sequence[Trial], lines: Mapping[str, Line]) -> Method | None:
    """The method of the highest mean score, of equals the first; None before all trials have ended."""
    if any(trial.key not in lines for trial in trials):
        return None
    return max(scores(trials, lines), key=lambda item: statistics.fmean(item[1]))[0]
