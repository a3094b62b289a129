"""What the supervisor hands to the run process, and that to the ranks of a run on several devices."""

from __future__ import annotations

from pathlib import Path

from espo_contracts.events import Record
from espo_contracts.job import JobSpec

# Files in the folder of the ranks.
ORDER, EVENTS, END, LAST_WORDS = "order.json", "events", "end.json", "failed-{rank}.json"


class RunOrder(Record):
    """One line of JSON on the run process's standard input: every file is there already."""

    spec: JobSpec
    work_dir: Path
    """Checkpoints are saved as `checkpoint-<step>` under it."""
    model: Path | None = None
    data_file: Path | None = None
    resume: Path | None = None

    @property
    def stop_file(self) -> Path:
        """Once it is there the run is to save after the step that it is in, and to end."""
        return self.work_dir / "stop"
