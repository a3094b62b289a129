"""Jobs as the API shows them. Times are seconds since the epoch."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from api.jobs.models import Job
from espo_contracts.job import Desired, JobStatus
from espo_contracts.validation import FieldError


class Progress(BaseModel):
    """How far a job is; `eta_seconds` is null until there is a step to measure."""

    step: int
    total_steps: int
    eta_seconds: float | None


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    hint: str = ""


class JobSummary(BaseModel):
    """A job in a list."""

    id: str
    object: Literal["job"] = "job"
    name: str
    tags: list[str]
    status: JobStatus
    desired: Desired
    algorithm: str
    model: str
    device: str
    progress: Progress
    latest: dict[str, float | None]
    """Newest value of each metric; null where it was not finite."""
    attempt: int
    max_attempts: int
    event_count: int
    error: JobError | None
    created_at: float
    started_at: float | None
    finished_at: float | None


class JobObject(JobSummary):
    """A job with its documents, and why it waits."""

    spec: dict[str, Any]
    """As given."""
    resolved: dict[str, Any]
    """With every default filled in."""
    queue_position: int | None = None
    """1 is next; null when the job does not wait."""
    waiting_reason: str | None = None


class Memory(BaseModel):
    """Bytes that a run takes, by part: on a CPU of its process, on a GPU of the device's memory. Each of
    several devices needs as much."""

    process: int
    """Python with its libraries and the tokenizer; 0 on a GPU, where it takes the machine's memory."""
    weights: int
    reference: int
    """A second copy of the base model, where the objective compares with it."""
    sampler_weights: int
    """Copies to sample with: a small model's, those of rollouts that are made ahead, and on each device those
    that are cut among devices."""
    gradients: int
    optimiser: int
    """Two moments; for weights in bfloat16 float32 copies too."""
    kv_cache: int
    """Keys and values of the responses that are decoded at once, and their copies as rows leave; with vLLM
    all that it takes of a GPU of 80 GB."""
    sampler_logits: int
    """Distributions of their next tokens."""
    activations: int
    """Of a micro-batch, kept for the backward pass."""
    logits: int
    """Tiles of logits in the update, or the gradient of the embedding if that is larger."""
    checkpoint: int
    """Weights with adapters merged in, while a checkpoint is saved."""


class Duration(BaseModel):
    """Seconds of all steps, by part."""

    sampling: float
    update: float
    evaluation: float


class Estimate(BaseModel):
    """What a job will need; null where it cannot be told before the model is loaded."""

    rollout_tokens: int
    """Upper bound: every response as long, and every step of as many rounds, as allowed."""
    prompt_tokens: int
    """How long a prompt is taken to be: by the data, and where that tells nothing 200."""
    parameters: int | None = None
    trainable_parameters: int | None = None
    memory_bytes: int | None = None
    """The most at once. On a GPU sampling, updating and saving take turns; on a CPU what an update took stays
    with the process."""
    memory: Memory | None = None
    seconds: float | None = None
    """For responses as long as allowed; on a CPU with AVX2, or on an H100."""
    time: Duration | None = None


class Validation(BaseModel):
    """What submitting the document would do."""

    object: Literal["job.validation"] = "job.validation"
    is_valid: bool
    errors: list[FieldError]
    resolved: dict[str, Any] | None
    estimate: Estimate | None


class JobFilter(BaseModel):
    """Which jobs a list shows: those that fit every given part."""

    model_config = ConfigDict(frozen=True)

    status: Annotated[list[JobStatus], Field(max_length=8)] = []
    tag: Annotated[list[str], Field(max_length=16)] = []
    algorithm: Annotated[str | None, Field(max_length=64)] = None
    model: Annotated[str | None, Field(max_length=256)] = None
    text: Annotated[str | None, Field(max_length=128)] = None


def job_filter(
    status: Annotated[list[JobStatus], Query(max_length=8, description="One of these.")] = [],  # noqa: B006
    tag: Annotated[list[str], Query(max_length=16, description="All of these.")] = [],  # noqa: B006
    algorithm: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=256)] = None,
    text: Annotated[str | None, Query(max_length=128, description="Part of the name or id.")] = None,
) -> JobFilter:
    return JobFilter(status=status, tag=tag, algorithm=algorithm, model=model, text=text)


def summary_fields(job: Job) -> dict[str, Any]:
    """The fields of JobSummary."""
    names = set(JobSummary.model_fields) - {"object", "progress"}
    return {name: getattr(job, name) for name in names} | {"progress": progress_of(job)}


def progress_of(job: Job) -> Progress:
    return Progress(step=job.step, total_steps=job.total_steps, eta_seconds=_eta(job))


def _eta(job: Job) -> float | None:
    """Seconds that the remaining steps take at the pace of the last one."""
    pace = job.latest.get("time/step_seconds")
    if job.status != JobStatus.RUNNING or not isinstance(pace, float | int) or not math.isfinite(pace):
        return None
    return round(pace * max(0, job.total_steps - job.step), 3)
