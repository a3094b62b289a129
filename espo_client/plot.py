"""The plot of a run: reward, held-out accuracy, clip fraction and entropy over its steps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from espo_client.records import Curve, Job

INK, GRID = "#30343b", "#e4e7eb"
# Weight of the newest point in the smoothed line.
NEWEST_WEIGHT = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One small plot of one metric."""

    metric: str
    title: str
    color: str
    is_sparse: bool = False
    """A few measured points, to be joined, rather than a noisy line, to be smoothed."""


PANELS = (
    Panel(metric="reward/mean", title="Mean reward of the rollouts", color="#2f6fdf"),
    Panel(metric="held_out/greedy", title="Held-out accuracy, greedy", color="#1f9d6b", is_sparse=True),
    Panel(metric="policy/clip_fraction", title="Clipped share of tokens", color="#d9622b"),
    Panel(metric="policy/entropy", title="Entropy of the policy (nats per token)", color="#7d53c7"),
)


def write_plot(job: Job, curves: dict[str, Curve], path: Path) -> None:
    """Draws the run into a PNG, written beside its place and moved there when it is whole."""
    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12)
    figure = Figure(figsize=(11, 7), dpi=130, layout=layout, facecolor="white")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, panel in zip(axes.flat, PANELS, strict=True):
        _draw(axis, panel, curves)
    for axis in axes[1]:
        axis.set_xlabel("step", color=INK)
    title = " · ".join(filter(None, (job.name, job.model, job.algorithm.upper())))
    # A dollar sign would begin a formula.
    figure.suptitle(title.replace("$", r"\$"), fontsize=14, fontweight="bold", color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)


def smooth(values: list[float]) -> list[float]:
    """The running mean that forgets: m_t = m_{t-1} + w (x_t - m_{t-1}), unbiased at its start."""
    total, weight, means = 0.0, 0.0, []
    for value in values:
        total = (1 - NEWEST_WEIGHT) * total + NEWEST_WEIGHT * value
        weight = (1 - NEWEST_WEIGHT) * weight + NEWEST_WEIGHT
        means.append(total / weight)
    return means


def _draw(axis: Axes, panel: Panel, curves: dict[str, Curve]) -> None:
    _style(axis, panel.title)
    steps, values = _points(curves, panel.metric)
    if not steps:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", color="#8a9099")
        return
    line = values if panel.is_sparse else smooth(values)
    if panel.is_sparse:
        axis.plot(steps, line, color=panel.color, marker="o", markersize=4, linewidth=2)
        _draw_interval(axis, panel, curves)
    else:
        axis.plot(steps, values, color=panel.color, alpha=0.25, linewidth=1)
        axis.plot(steps, line, color=panel.color, linewidth=2)
    axis.annotate(
        f"{line[-1]:.3g}",
        (steps[-1], line[-1]),
        xytext=(6, 0),
        textcoords="offset points",
        color=panel.color,
        va="center",
        fontweight="bold",
        annotation_clip=False,
    )


def _draw_interval(axis: Axes, panel: Panel, curves: dict[str, Curve]) -> None:
    """The 95 % interval of each measurement, where the run reported one."""
    low_steps, low = _points(curves, f"{panel.metric}_low")
    high_steps, high = _points(curves, f"{panel.metric}_high")
    if low_steps and low_steps == high_steps:
        axis.fill_between(low_steps, low, high, color=panel.color, alpha=0.15, linewidth=0)


def _points(curves: dict[str, Curve], metric: str) -> tuple[list[int], list[float]]:
    curve = curves.get(metric)
    return curve.finite() if curve else ([], [])


def _style(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.grid(color=GRID)
    axis.set_axisbelow(True)
    axis.margins(x=0.03)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axis.tick_params(colors=INK, length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
