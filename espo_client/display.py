"""Progress for people: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from espo_client.records import Estimate
from espo_client.tracker import Tracker

LINE_SECONDS = 5.0


class Display(Protocol):
    """Where progress is shown."""

    def show(self, tracker: Tracker) -> None:
        """Shows where the job is."""

    def say(self, line: str) -> None:
        """Adds a line that stays."""


class BarDisplay:
    """A live bar: step, reward, clip fraction, held-out accuracy, time left."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._task = progress.add_task("queued", total=None, figures="", left="")

    def show(self, tracker: Tracker) -> None:
        self._progress.update(
            self._task,
            description=tracker.status.value,
            completed=tracker.step,
            total=tracker.total_steps or None,
            figures=figures_text(tracker),
            left=_left_text(tracker),
        )

    def say(self, line: str) -> None:
        self._console.print(f"  {line}", style="dim", markup=False, highlight=False)


class LineDisplay:
    """A line now and then, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._last_step = -1

    def show(self, tracker: Tracker) -> None:
        is_last = tracker.step == tracker.total_steps
        if tracker.step == self._last_step or (time.monotonic() < self._next and not is_last):
            return
        self._next, self._last_step = time.monotonic() + LINE_SECONDS, tracker.step
        where = f"{tracker.status.value}: step {tracker.step}/{tracker.total_steps}"
        self.say("  ".join(filter(None, (where, figures_text(tracker), _left_text(tracker)))))

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def job_display(console: Console) -> Iterator[Display]:
    """The display that suits the console."""
    if not console.is_terminal:
        yield LineDisplay(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", style="cyan"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", style="dim"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield BarDisplay(console, progress)


@contextmanager
def bytes_display(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that takes numbers of bytes and shows their sum."""
    if not console.is_terminal:
        console.print(f"{what} ({total / 1e6:.1f} MB)", markup=False, highlight=False)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def figures_text(tracker: Tracker) -> str:
    """The figures worth a glance."""
    names = (("reward/mean", "reward"), ("policy/clip_fraction", "clip"), ("held_out/greedy", "held out"))
    values = ((label, tracker.figure(name)) for name, label in names)
    return "  ".join(f"{label} {value:.3f}" for label, value in values if value is not None)


def estimate_lines(estimate: Estimate) -> Iterator[str]:
    """What a job will need, in two digits, the largest parts first."""
    yield f"rollout tokens: about {_rough(estimate.rollout_tokens):,.0f}"
    if estimate.parameters is not None:
        trained = estimate.trainable_parameters or estimate.parameters
        yield f"parameters: {estimate.parameters:,}, of which {trained:,} are trained"
    if estimate.memory_bytes is not None:
        parts = _parts(estimate.memory or {}, 1e-6, "MB")
        yield f"memory: about {_rough(estimate.memory_bytes / 1e6):,.0f} MB ({parts})"
    if estimate.seconds is not None:
        yield f"time: about {_rough(estimate.seconds):,.0f} s ({_parts(estimate.time or {}, 1, 's')})"


def _parts(parts: Mapping[str, float], scale: float, unit: str) -> str:
    """The parts that are a fiftieth of the largest or more."""
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    shown = [(name, value) for name, value in ordered if value and 50 * value >= ordered[0][1]]
    return ", ".join(f"{name.replace('_', ' ')} {_rough(value * scale):,.0f} {unit}" for name, value in shown)


def _rough(value: float) -> float:
    return float(f"{value:.2g}")


def _left_text(tracker: Tracker) -> str:
    seconds = tracker.seconds_left
    return "" if seconds is None else f"ETA {int(seconds) // 60}:{int(seconds) % 60:02d}"
