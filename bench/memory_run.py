"""A run in a process of its own, and what that takes: `python -m bench.memory_run <job> <data file>`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from espo_contracts.events import Event, Metrics, Started
from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from espo_core.jobfile import find_job_model
from espo_core.report import resident_memory
from espo_core.trainer import RunInputs, Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Bytes that a process had resident at most, and had when its program and when its model were loaded; and
    the processor's seconds of its steps."""

    peak: float
    at_import: float
    at_start: float
    sampling: float
    update: float


def run(spec: JobSpec, data: Path | None) -> Measured:
    """Runs a job in this process."""
    at_import, at_start = resident_memory(), 0
    metrics: list[Metrics] = []

    def note(event: Event) -> None:
        nonlocal at_start
        if isinstance(event, Started):
            at_start = resident_memory()
        if isinstance(event, Metrics) and event.step:
            metrics.append(event)

    began = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        inputs = RunInputs(spec=spec, work_dir=Path(folder), model=find_job_model(spec), data_file=data)
        Trainer(inputs, note).run()
    share = (time.process_time() - began[1]) / (time.perf_counter() - began[0])
    return Measured(
        peak=metrics[-1].values["memory/peak_bytes"] or 0.0,
        at_import=at_import,
        at_start=at_start,
        sampling=share * _sum(metrics, "time/rollout_seconds"),
        update=share * _sum(metrics, "time/update_seconds"),
    )


def _sum(metrics: list[Metrics], name: str) -> float:
    return sum(event.values[name] or 0.0 for event in metrics)


if __name__ == "__main__":
    _, given, path = sys.argv
    print(json.dumps(asdict(run(parse_job_spec(json.loads(given)), Path(path) if path else None))))
