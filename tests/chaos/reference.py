"""What each job comes to without a service: `python -m tests.chaos.reference FOLDER FIRST COUNT`.

The library alone, one job after the other in one process. Results are `<seed>.json` in the folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from espo_contracts.events import Event, Metrics
from espo_contracts.job import JobSpec
from espo_core.checkpoint import newest_checkpoint
from espo_core.trainer import RunInputs, Trainer
from tests.chaos.jobs import Plan, plan
from tests.e2e.service import ROOT, without_machine


def undisturbed(job: Plan, folder: Path) -> dict[str, object]:
    """SHA-256 of the final weights, and the metrics of each step."""
    work, steps = folder / f"work-{job.seed}", {}

    def note(event: Event) -> None:
        if isinstance(event, Metrics):
            steps[event.step] = without_machine(event.values)

    inputs = RunInputs(
        spec=JobSpec.model_validate(job.with_file(f"file-{0:032x}")),
        work_dir=work,
        model=ROOT / "examples" / "tiny-base",
        data_file=job.write_rows(folder) if job.rows else None,
    )
    Trainer(inputs, note).run()
    final = newest_checkpoint(work)
    assert final is not None
    digest = hashlib.sha256((final / "model.safetensors").read_bytes()).hexdigest()
    shutil.rmtree(work)
    return {"weights": digest, "metrics": steps}


def main(folder: Path, first: int, count: int) -> None:
    """Writes the result of each seed, whole or not at all."""
    for seed in range(first, first + count):
        target = folder / f"{seed}.json"
        if not target.exists():
            partial = folder / f"{seed}.partial"
            partial.write_text(json.dumps(undisturbed(plan(seed), folder)))
            partial.rename(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
