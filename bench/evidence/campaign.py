"""Runs what the plan still lacks, in processes that each do many runs, and keeps every line at once."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.evidence.bases import ROOT, Base, base_folder
from bench.evidence.lines import Line, append, read
from bench.evidence.plan import Plan, Planned
from bench.evidence.scale import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign and where it is kept."""

    scale: Scale
    results: Path
    """Folder of runs.jsonl."""
    cache: Path
    """Folder of the base models."""
    processes: int = 2
    seconds: float = float("inf")
    """No run is begun after this."""
    stages: frozenset[str] = frozenset()
    """Only these; empty is all."""

    def run(self) -> None:
        """Makes the base models, then block after block of the plan."""
        began, code = time.monotonic(), _code()
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, mp_context=context) as pool:
            for index in range(len(self._plan().blocks())):
                planned = self._missing(self._plan().blocks()[index])
                self._block(pool, planned, code=code, until=began + self.seconds)

    def _plan(self) -> Plan:
        return Plan(scale=self.scale, lines=read(self.results / "runs.jsonl"))

    def _missing(self, block: Sequence[Planned]) -> list[Planned]:
        """The runs of a block without a line, each once."""
        done = read(self.results / "runs.jsonl")
        todo = {
            one.trial.key: one
            for one in block
            if one.trial.key not in done and (not self.stages or one.stage in self.stages)
        }
        return list(todo.values())

    def _block(
        self, pool: ProcessPoolExecutor, planned: Sequence[Planned], *, code: str, until: float
    ) -> None:
        if not planned or time.monotonic() > until:
            return
        names = dict.fromkeys(one.trial.pair.base for one in planned)
        list(pool.map(base_folder, [self.scale.base(name) for name in names], [self.cache] * len(names)))
        with _bars() as progress:
            bar = progress.add_task(planned[0].stage, total=len(planned))
            for line in self._lines(pool, planned, code=code, until=until):
                append(self.results / "runs.jsonl", line)
                progress.advance(bar)

    def _lines(
        self, pool: ProcessPoolExecutor, planned: Sequence[Planned], *, code: str, until: float
    ) -> Iterator[Line]:
        """Yields lines as they come. Only as many runs are handed out as there are processes."""
        waiting, running = list(planned), set[Future[Line]]()
        while waiting or running:
            while waiting and len(running) < self.processes and time.monotonic() < until:
                trial = waiting.pop(0).trial
                base = self.scale.base(trial.pair.base)
                running.add(pool.submit(_executed, trial, base, self.cache, code))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _executed(trial: Any, base: Base, cache: Path, code: str) -> Line:
    """In a worker process: one run."""
    from bench.evidence.execute import execute

    return execute(trial, base_folder(base, cache), code=code)


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(file=sys.stderr)
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _code() -> str:
    """The commit that the runs were made with."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
