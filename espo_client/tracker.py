"""What is known about a running job, from its row and then from its events."""

from __future__ import annotations

from espo_client.records import Event, Job
from espo_contracts.job import JobStatus

# Weight of the newest step in the running mean of seconds per step: about the last twenty steps count.
NEWEST_WEIGHT = 0.1


class Tracker:
    """Status, step and newest figures of one job."""

    def __init__(self, job: Job) -> None:
        self.status = job.status
        self.step = job.progress.step
        self.total_steps = job.progress.total_steps
        self.figures: dict[str, float] = {}
        self.seconds_per_step: float | None = None
        self._take(job.latest)

    def apply(self, event: Event) -> str | None:
        """Takes an event in; returns a line for people when it says something beyond progress."""
        if event.type == "metrics":
            self.step = event.step or 0
            self._take(event.data.get("values") or {})
            return None
        if event.type == "started":
            return self._started(event)
        if event.type == "log":
            return str(event.data.get("message")) if event.data.get("level") != "debug" else None
        if event.type == "checkpoint":
            return f"checkpoint at step {event.step} stored"
        if event.type == "state":
            return self._state(event)
        return None

    def figure(self, name: str) -> float | None:
        """The newest value of a metric."""
        return self.figures.get(name)

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the last step, from the recent speed."""
        if self.seconds_per_step is None or self.status != JobStatus.RUNNING:
            return None
        return max(self.total_steps - self.step, 0) * self.seconds_per_step

    def _take(self, values: dict[str, float | None]) -> None:
        self.figures |= {name: value for name, value in values.items() if value is not None}
        seconds = values.get("time/step_seconds")
        if seconds is not None:
            old = self.seconds_per_step
            self.seconds_per_step = seconds if old is None else old + NEWEST_WEIGHT * (seconds - old)

    def _started(self, event: Event) -> str:
        self.status = JobStatus.RUNNING
        self.total_steps = int(event.data.get("total_steps") or self.total_steps)
        resumed = event.data.get("resumed_from")
        if resumed is not None:
            self.step = int(resumed)
            return f"attempt {event.attempt} goes on after step {resumed} on {event.data.get('device')}"
        parameters = int(event.data.get("parameters") or 0)
        return f"training {parameters / 1e6:.2f} M parameters on {event.data.get('device')}"

    def _state(self, event: Event) -> str | None:
        status, reason = event.data.get("status"), event.data.get("reason")
        if status in set(JobStatus):
            self.status = JobStatus(status)
        # A start and a good end are shown by themselves.
        is_news = self.status not in (JobStatus.RUNNING, JobStatus.SUCCEEDED)
        return f"{status}: {reason}" if reason and is_news else None
