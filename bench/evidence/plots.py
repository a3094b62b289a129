"""The plots of the evidence.

On white, so that they read in light and dark pages; in colours that the colour-blind tell apart (Okabe and
Ito), with a mark of its own for each row.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.evidence.execute import BIN
from bench.evidence.lines import Line
from bench.evidence.outcome import WINDOW, Comparison, PairName, Rows, smoothed
from bench.evidence.statistics import paired

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")


@contextmanager
def axes(path: Path, *, title: str, size: tuple[float, float] = (7.2, 4.4)) -> Iterator[Any]:
    """Axes that are saved when the block ends."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        one = figure.subplots()
        one.set_title(title, loc="left", fontsize=10)
        yield one
        # Without a date and a version of the library the same lines give the same file.
        figure.savefig(path, dpi=110, metadata={"Software": None})


def learning_curves(path: Path, rows: Rows, names: Sequence[str], *, title: str) -> None:
    """Smoothed reward over rollouts, with the 95 % interval of the mean over pairs.

    What a pair's rows have in common is taken out of the interval: it says how far the rows differ.
    """
    shown = {name: rows[name] for name in names if name in rows}
    with axes(path, title=title) as one:
        for index, (name, curves) in enumerate(_centred(shown).items()):
            each = statistics.fmean(line["rollouts"] / len(line["reward"]) for line in shown[name].values())
            points = [paired(values) for values in zip(*curves, strict=False)]
            x = [each * step for step in range(WINDOW, WINDOW + len(points))]
            widths = [point.half_width if math.isfinite(point.half_width) else 0.0 for point in points]
            low = [point.mean - width for point, width in zip(points, widths, strict=True)]
            high = [point.mean + width for point, width in zip(points, widths, strict=True)]
            style = {"color": COLOURS[index], "marker": MARKS[index], "markersize": 4, "markevery": 6}
            one.fill_between(x, low, high, color=COLOURS[index], alpha=0.12, linewidth=0)
            one.plot(x, [point.mean for point in points], label=name, **style)
        one.set_xlabel("rollouts")
        one.set_ylabel(f"reward, mean of {WINDOW} batches")
        one.legend(frameon=False, fontsize=8)


def _centred(rows: Rows) -> dict[str, list[list[float]]]:
    """Smoothed curves of the pairs that all rows have, less the pair's mean, plus the mean of all pairs."""
    common = [pair for pair in next(iter(rows.values()), {}) if all(pair in pairs for pairs in rows.values())]
    curves = {name: np.array([smoothed(pairs[pair]) for pair in common]) for name, pairs in rows.items()}
    if not common:
        return {}
    levels = np.mean(list(curves.values()), axis=0)
    return {name: (one - levels + levels.mean(0)).tolist() for name, one in curves.items()}


def forest(path: Path, comparisons: Sequence[Comparison], *, title: str, unit: str) -> None:
    """Paired differences with their 95 % intervals, one line each."""
    ordered = sorted(comparisons, key=lambda one: one.difference.mean)
    with axes(path, title=title, size=(7.2, 1.2 + 0.27 * len(ordered))) as one:
        one.axvline(0, color="#888888", linewidth=1)
        for place, comparison in enumerate(ordered):
            difference = comparison.difference
            width = difference.half_width if math.isfinite(difference.half_width) else 0.0
            colour = COLOURS[0] if comparison.corrected >= 0.05 else COLOURS[3]
            mark = "o" if comparison.corrected >= 0.05 else "D"
            one.errorbar(difference.mean, place, xerr=width, fmt=mark, color=colour, capsize=3, markersize=5)
        one.set_yticks(range(len(ordered)), [comparison.row for comparison in ordered])
        one.set_xlabel(f"{unit} (diamond: Holm p < 0.05)")


def clip_against_entropy(path: Path, rows: Rows, names: Sequence[str], *, title: str) -> None:
    """Clip fraction against entropy over training, mean over pairs: an arrow's end is the end of the run."""
    with axes(path, title=title) as one:
        for index, name in enumerate(name for name in names if name in rows):
            entropy = _mean_curve(rows[name], "entropy")
            clip = [100 * value for value in _mean_curve(rows[name], "clip")]
            one.plot(entropy, clip, color=COLOURS[index], marker=MARKS[index], markersize=4, label=name)
            one.annotate(
                "",
                xy=(entropy[-1], clip[-1]),
                xytext=(entropy[-2], clip[-2]),
                arrowprops={"arrowstyle": "->"},
            )
        one.set_yscale("log")
        one.invert_xaxis()
        one.set_xlabel(
            f"entropy of the responses (nats a token), means of {BIN} batches; training goes right"
        )
        one.set_ylabel("clip fraction, %")
        one.legend(frameon=False, fontsize=8)


def _mean_curve(pairs: Mapping[PairName, Line], name: str) -> list[float]:
    curves = [line["curves"][name] for line in pairs.values()]
    return [max(1e-6, statistics.fmean(values)) for values in zip(*curves, strict=False)]
