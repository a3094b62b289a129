"""What the service answers, as typed records. Fields that a newer service adds are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from espo_contracts.events import FileEntry
from espo_contracts.job import Desired, JobStatus
from espo_contracts.validation import FieldError


class View(BaseModel):
    """A document that the service sent."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class JobError(View):
    """Why a job failed, and what to do about it."""

    code: str
    message: str
    hint: str = ""


class Progress(View):
    """How far a job is; `eta_seconds` is null until there is a step to measure."""

    step: int = 0
    total_steps: int = 0
    eta_seconds: float | None = None


class Job(View):
    """A job, without its specification. Times are seconds since the epoch."""

    id: str
    name: str
    tags: list[str] = []
    status: JobStatus
    desired: Desired = Desired.RUN
    algorithm: str = ""
    model: str = ""
    device: str = "cpu"
    progress: Progress = Progress()
    latest: dict[str, float | None] = {}
    """Newest value of each metric."""
    attempt: int = 0
    max_attempts: int = 1
    event_count: int = 0
    """Number of the newest event: what happens later has a higher one."""
    error: JobError | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None


class JobDetail(Job):
    """A job with its specification, as given and with every default filled in, and why it waits."""

    spec: dict[str, Any] = {}
    resolved: dict[str, Any] = {}
    queue_position: int | None = None
    waiting_reason: str | None = None


class Event(View):
    """An entry of a job's event log; `id`, its number within the job, is the cursor."""

    id: Annotated[int, Field(ge=0)]
    time: float
    type: str
    step: int | None = None
    attempt: int | None = None
    is_superseded: bool = False
    """A later attempt did this step again."""
    data: dict[str, Any] = {}


class Curve(View):
    """One metric by step; a value that was NaN or infinite is null."""

    steps: list[int]
    values: list[float | None]
    non_finite: dict[str, str] = {}

    def finite(self) -> tuple[list[int], list[float]]:
        """Steps and values that can be drawn."""
        points = [(s, v) for s, v in zip(self.steps, self.values, strict=True) if v is not None]
        return [step for step, _ in points], [value for _, value in points]


class Sample(View):
    """One recorded response."""

    step: int
    prompt: str
    completion: str
    reward: float
    reward_parts: dict[str, float] = {}
    is_verified: bool = False
    is_truncated: bool = False
    advantage: float = 0.0


class LogLine(View):
    """One line of a run's log."""

    time: float
    level: str = "info"
    message: str


class Checkpoint(View):
    """A downloadable model folder."""

    step: int
    created_at: float
    bytes: int
    files: list[FileEntry]
    metrics: dict[str, float | None] = {}


class DataFile(View):
    """An uploaded data file."""

    id: str
    filename: str
    bytes: int
    rows: int = 0
    sha256: str = ""
    created_at: float


class Estimate(View):
    """What a job will need."""

    rollout_tokens: int
    parameters: int | None = None
    trainable_parameters: int | None = None
    memory_bytes: int | None = None
    memory: dict[str, int] | None = None
    """Bytes by part."""
    seconds: float | None = None
    time: dict[str, float] | None = None
    """Seconds by part."""


class Validation(View):
    """What submitting a document would do."""

    is_valid: bool
    errors: list[FieldError] = []
    resolved: dict[str, Any] | None = None
    estimate: Estimate | None = None


class ApiKey(View):
    """A key of the project, without its secret. Times are seconds since the epoch."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    is_active: bool
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None


class NewApiKey(ApiKey):
    """A key that was just made."""

    secret: str
    """Shown this once."""
