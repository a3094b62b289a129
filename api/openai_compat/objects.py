"""Rows as objects of the OpenAI face."""

from __future__ import annotations

from typing import Any, Literal

from api.checkpoints.schemas import CheckpointObject
from api.events.models import JobEvent
from api.jobs.models import Job
from api.jobs.schemas import progress_of
from api.openai_compat.graders import sdk_form
from api.openai_compat.models import FineTuningRequest
from api.openai_compat.request import CreateFineTuningJob
from api.openai_compat.schemas import (
    EspoState,
    FineTuningCheckpoint,
    FineTuningError,
    FineTuningEvent,
    FineTuningJob,
)
from espo_contracts.job import JobStatus

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]

# The SDK's strict mode knows no pause; a paused job waits, as a queued one does.
_STATUS: dict[JobStatus, Status] = {
    JobStatus.QUEUED: "queued",
    JobStatus.PAUSED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
_LEVELS: dict[str, Literal["info", "warn", "error"]] = {"warning": "warn", "error": "error"}


def job_object(job: Job, row: FineTuningRequest | None, *, now: float) -> FineTuningJob:
    """The job, with what its request said where it came through this face."""
    request = None if row is None else CreateFineTuningJob.model_validate(row.body)
    status = JobStatus(job.status)
    eta = progress_of(job).eta_seconds
    return FineTuningJob(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=int(job.finished_at) if status.is_terminal and job.finished_at else None,
        estimated_finish=None if eta is None else int(now + eta),
        status=_STATUS[status],
        error=_error(job),
        model=job.model if request is None else request.model,
        fine_tuned_model=f"{job.id}:{job.step}" if status is JobStatus.SUCCEEDED else None,
        organization_id=job.project_id,
        training_file=job.file_id or "" if request is None else request.training_file,
        hyperparameters=_hyperparameters(request),
        method=_method(request),
        seed=job.resolved["seed"],
        metadata=row.labels if row is not None else None,
        espo=_state(job),
    )


def _state(job: Job) -> EspoState:
    return EspoState(
        status=job.status,
        desired=job.desired,
        step=job.step,
        total_steps=job.total_steps,
        algorithm=job.algorithm,
    )


def _error(job: Job) -> FineTuningError | None:
    if not job.error:
        return None
    words = " ".join(part for part in (job.error["message"], job.error.get("hint")) if part)
    return FineTuningError(code=job.error["code"], message=words)


def _hyperparameters(request: CreateFineTuningJob | None) -> dict[str, Any]:
    """Those that the SDK's top-level object has."""
    names = {"batch_size", "learning_rate_multiplier", "n_epochs"}
    return request.chosen.model_dump(include=names, exclude_none=True) if request is not None else {}


def _method(request: CreateFineTuningJob | None) -> dict[str, Any] | None:
    if request is None or request.method is None:
        return None
    grader = sdk_form(request.method.reinforcement.grader)
    if grader is None:
        return None
    hyperparameters = request.chosen.model_dump(exclude_none=True)
    return {
        "type": "reinforcement",
        "reinforcement": {"grader": grader, "hyperparameters": hyperparameters},
    }


def event_id(job_id: str, number: int) -> str:
    return f"ftevent-{job_id.removeprefix('job-')}-{number}"


def event_object(row: JobEvent) -> FineTuningEvent:
    """The entry with a line of words."""
    data = {key: value for key, value in row.data.items() if key != "type"}
    is_failure = row.type == "failed"
    return FineTuningEvent(
        id=event_id(row.job_id, row.number),
        created_at=int(row.time),
        level="error" if is_failure else _LEVELS.get(str(data.get("level")), "info"),
        message=_words(row.type, data),
        type="metrics" if row.type == "metrics" else "message",
        data={"event": row.type, **data},
    )


def _words(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "metrics":
            return f"step {data['step']}"
        case "checkpoint":
            return f"checkpoint of step {data['step']}"
        case "log":
            return str(data["message"])
        case "failed":
            return f"{data['code']}: {data['message']}"
        case "state":
            return f"{data.get('status', 'state')}: {data.get('reason', '')}"
        case _:
            return kind


def fine_tuning_checkpoint(shown: CheckpointObject) -> FineTuningCheckpoint:
    """The checkpoint; its metrics have our names beside the step."""
    return FineTuningCheckpoint(
        id=shown.id,
        created_at=int(shown.created_at),
        fine_tuned_model_checkpoint=shown.id,
        fine_tuning_job_id=shown.job_id,
        metrics={"step": shown.step, **shown.metrics},
        step_number=shown.step,
    )
