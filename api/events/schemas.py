"""Entries of a job's log as the API shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from api.events.models import JobEvent

EventType = Literal["state", "started", "metrics", "sample", "log", "checkpoint", "finished", "failed"]


class Event(BaseModel):
    """One entry. `id` is its number within the job: the cursor of lists and streams."""

    id: str
    object: Literal["job.event"] = "job.event"
    type: EventType
    time: float
    attempt: int | None
    step: int | None
    is_superseded: bool
    """A later attempt did this step again."""
    data: dict[str, Any]


class Sample(BaseModel):
    """One response, with all that its advantage came from."""

    id: str
    object: Literal["job.sample"] = "job.sample"
    time: float
    attempt: int | None
    step: int
    group: int
    prompt: str
    completion: str
    reward: float
    reward_parts: dict[str, float]
    is_verified: bool
    is_truncated: bool
    advantage: float


class LogLine(BaseModel):
    """A line for people."""

    id: str
    object: Literal["job.log"] = "job.log"
    time: float
    attempt: int | None
    level: Literal["debug", "info", "warning", "error"]
    message: str


def event_of(row: JobEvent) -> Event:
    return Event(
        id=str(row.number),
        type=row.type,
        time=row.time,
        attempt=row.attempt,
        step=row.step,
        is_superseded=row.is_superseded,
        data=row.data,
    )


def sample_of(row: JobEvent) -> Sample:
    return Sample(id=str(row.number), time=row.time, attempt=row.attempt, **_plain(row))


def log_line_of(row: JobEvent) -> LogLine:
    """A line that the run told, or the last of one that failed: why, and the end of its output."""
    if row.type == "failed":
        message = f"{row.data['code']}: {row.data['message']}"
        words = "\n".join(part for part in (message, row.data["log_tail"]) if part)
        return LogLine(id=str(row.number), time=row.time, attempt=row.attempt, level="error", message=words)
    return LogLine(id=str(row.number), time=row.time, attempt=row.attempt, **_plain(row))


def _plain(row: JobEvent) -> dict[str, Any]:
    return {name: value for name, value in row.data.items() if name != "type"}
