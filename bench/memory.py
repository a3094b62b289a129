"""The estimate of a run's memory and time beside what runs take: `python -m bench.memory`.

Each job of the examples runs for a few steps with evaluations and checkpoints, in a process of its own. The
peak is the metric memory/peak_bytes of the last step, as the service would show it. Seconds are of one
processor: what else the machine does is not in them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.catalogue.catalogue import Catalogue
from api.catalogue.models import facts_of
from api.jobs.estimate import estimate
from api.jobs.schemas import Estimate
from api.jobs.workload import DataFacts
from bench.memory_run import Measured
from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from espo_core.errors import ModelError
from espo_core.jobfile import find_job_model, read_job

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job of the examples, changed."""

    name: str
    file: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By part of the job."""


SHORT = {
    "schedule": {"steps": 4, "evaluate_every": 2, "checkpoint_every": 2},
    "resources": {"cpu_threads": 1},
}
WORKS = (
    Work(name="countdown3", file="countdown3.yaml", changes=SHORT),
    Work(name="quickstart", file="quickstart.yaml", changes=SHORT),
    Work(name="smollm2, LoRA", file="smollm2.yaml", changes=SHORT),
    Work(name="smollm2, full", file="smollm2.yaml", changes={**SHORT, "model": {"lora": None}}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", help="works whose name contains this")
    only = parser.parse_args().only
    for work in WORKS:
        if only is None or only in work.name:
            report(work)


def report(work: Work) -> None:
    """Prints estimate and measurement of a job, where its model is there."""
    spec, data = job(work)
    try:
        told = estimated(spec, data)
    except ModelError as error:
        print(f"{work.name}: {error}")
        return
    _print(work.name, told, measured(spec, data), steps=spec.schedule.steps)


def job(work: Work) -> tuple[JobSpec, Path | None]:
    """The job, and its data file."""
    spec, data = read_job(EXAMPLES / work.file)
    document = spec.model_dump(mode="json")
    for part, change in work.changes.items():
        document[part] |= change
    return parse_job_spec(document), data


def estimated(spec: JobSpec, data: Path | None) -> Estimate:
    """What the service would answer to the job."""
    folder = find_job_model(spec)
    return estimate(spec, None if folder is None else facts_of(folder), _data_facts(spec, data))


def _data_facts(spec: JobSpec, data: Path | None) -> DataFacts:
    if data is not None:
        rows = len(data.read_text(encoding="utf-8").splitlines())
        return DataFacts(characters=data.stat().st_size / rows, rows=rows)
    assert spec.data.task is not None
    catalogue, name = Catalogue.load(), spec.data.task.name
    parameters = catalogue.fill("tasks", name, spec.data.task.parameters)
    return DataFacts(characters=catalogue.prompt_characters(name), rows=parameters["held_out_rows"])


def measured(spec: JobSpec, data: Path | None) -> Measured:
    """What a run of the job takes, in a process of its own."""
    command = [sys.executable, "-m", "bench.memory_run", spec.model_dump_json(), str(data or "")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=EXAMPLES.parent)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _print(name: str, told: Estimate, found: Measured, *, steps: int) -> None:
    memory, time = told.memory, told.time
    assert memory is not None
    assert time is not None
    assert told.memory_bytes is not None
    at_start = memory.process + memory.weights + memory.gradients + memory.reference
    print(f"\n{name}, {steps} steps | estimate | measured | ratio")
    _row("peak, MB", told.memory_bytes / 1e6, found.peak / 1e6)
    _row("before the first step, MB", at_start / 1e6, found.at_start / 1e6)
    _row("Python and its libraries, MB", memory.process / 1e6, found.at_import / 1e6)
    _row("sampling, s", time.sampling, found.sampling)
    _row("update, s", time.update, found.update)
    parts = ", ".join(f"{part} {size / 1e6:.1f}" for part, size in memory.model_dump().items() if size)
    print(f"estimated parts, MB: {parts}")


def _row(what: str, told: float, found: float) -> None:
    print(f"{what} | {told:.1f} | {found:.1f} | {told / found:.2f}")


if __name__ == "__main__":
    main()
