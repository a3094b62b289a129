"""What a run on the command line shows and keeps: a bar (lines where there is no terminal) and its events."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espo_contracts.events import Checkpoint, Event, Log, Metrics, Started
from espo_core.checkpoint import newest_checkpoint, prune

_PASS = re.compile(r"held_out/pass_at_([0-9]+)")
LINES_EVERY = 10  # steps between lines where there is no terminal


class RunView:
    """Takes the events of a run."""

    def __init__(self, console: Console, output: Path, *, keep: int) -> None:
        self._console, self._output, self._keep = console, output, keep
        self._best: tuple[float, int] | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, figures="")

    def __enter__(self) -> Self:
        self._output.mkdir(parents=True, exist_ok=True)
        path = self._output / "events.jsonl"
        is_continued = newest_checkpoint(self._output) is not None
        if is_continued and path.is_file():
            self._remember(path)
        self._file = path.open("a" if is_continued else "w", encoding="utf-8")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._file.close()

    def emit(self, event: Event) -> None:
        """Keeps an event and shows it."""
        self._file.write(event.model_dump_json() + "\n")
        self._file.flush()
        if isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Metrics):
            self._metrics(event)
        elif isinstance(event, Checkpoint):
            self._checkpoint(event)
        elif isinstance(event, Log):
            self._console.print(f"{event.level}: {event.message}", style="yellow", markup=False)

    def _started(self, event: Started) -> None:
        self._bar.update(self._task, total=event.total_steps, completed=event.resumed_from or 0)
        start = f"from step {event.resumed_from}" if event.resumed_from else "from the base model"
        self._console.print(
            f"{event.trainable_parameters:,} trainable parameters on {event.device}, {start}", highlight=False
        )

    def _metrics(self, event: Metrics) -> None:
        figures = _figures(event)
        self._bar.update(self._task, completed=event.step, figures=figures)
        is_line = not self._console.is_terminal and event.step % LINES_EVERY == 0
        if is_line or "held_out/greedy" in event.values:
            self._console.print(
                f"step {event.step}: {figures}{_held_out(event)}", highlight=False, soft_wrap=True
            )

    def _remember(self, path: Path) -> None:
        """Takes the best checkpoint from the events of the run that is continued."""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith('{"type":"checkpoint"'):
                self._rank(Checkpoint.model_validate_json(line))

    def _rank(self, event: Checkpoint) -> None:
        accuracy = event.metrics.get("held_out/greedy")
        if accuracy is not None and (self._best is None or accuracy >= self._best[0]):
            self._best = accuracy, event.step

    def _checkpoint(self, event: Checkpoint) -> None:
        self._rank(event)
        prune(self._output, keep=self._keep, best=self._best[1] if self._best else None)


def _figures(event: Metrics) -> str:
    names = {"reward/mean": "reward", "policy/clip_fraction": "clip fraction"}
    known = {label: event.values.get(name) for name, label in names.items()}
    return ", ".join(f"{label} {value:.3f}" for label, value in known.items() if value is not None)


def _held_out(event: Metrics) -> str:
    mean, low, high = (event.values.get(f"held_out/greedy{end}") for end in ("", "_low", "_high"))
    if mean is None or low is None or high is None:
        return ""
    return f"{', ' if event.step else ''}held-out accuracy {mean:.1%} ({low:.1%} to {high:.1%})" + _pass(
        event
    )


def _pass(event: Metrics) -> str:
    """The pass@k of the largest k."""
    names = ((_PASS.fullmatch(name), value) for name, value in event.values.items())
    found = {int(match[1]): value for match, value in names if match}
    value = found[max(found)] if found else None
    return "" if value is None else f", pass@{max(found)} {value:.1%}"
