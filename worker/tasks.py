"""The one task. A hint may come late, twice or never: the claim decides, not the message."""

from __future__ import annotations

from espo_contracts.wire import TASK_NAME, Hint
from worker.celery_app import app, station


@app.task(name=TASK_NAME)
def train(job: str, attempt: int) -> None:
    """Run the attempt if it is free."""
    station().train(Hint(job=job, attempt=attempt))
