"""Follows a job to its end, with progress."""

from __future__ import annotations

from rich.console import Console

from espo_client.client import EspoClient
from espo_client.display import job_display
from espo_client.records import JobDetail
from espo_client.tracker import Tracker

# Responses are most of the bytes of a log, and the display has no place for them.
SHOWN = ["state", "started", "metrics", "log", "checkpoint"]


def watch(client: EspoClient, job_id: str, console: Console) -> JobDetail:
    """The job at its end.

    Raises:
        EspoApiError, EspoConnectionError: as the client.
    """
    job = client.get(job_id)
    tracker = Tracker(job)
    with job_display(console) as display:
        if job.waiting_reason:
            display.say(f"waiting: {job.waiting_reason}")
        display.show(tracker)
        for event in client.events(job_id, after=job.event_count, types=SHOWN):
            line = tracker.apply(event)
            if line:
                display.say(line)
            display.show(tracker)
        job = client.get(job_id)
        tracker.status, tracker.step = job.status, job.progress.step
        display.show(tracker)
    return job


def ending(job: JobDetail) -> str:
    """How the job ended, in a sentence or two."""
    if job.error is None:
        return f"Job {job.id} {job.status.value} at step {job.progress.step} of {job.progress.total_steps}."
    hint = f"\n{job.error.hint}" if job.error.hint else ""
    return f"Job {job.id} failed at step {job.progress.step} ({job.error.code}): {job.error.message}{hint}"
