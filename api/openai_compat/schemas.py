"""Objects as OpenAI's SDK has them, valid in its strict mode. Times are whole seconds since the epoch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.openai_compat.graders import GraderBody
from espo_contracts.part import Part


class FineTuningError(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class EspoState(BaseModel):
    """What the face has no words for; `GET /v1/jobs/{id}` has the rest."""

    status: str
    """`paused` among others, which the face shows as queued."""
    desired: str
    step: int
    total_steps: int
    algorithm: str


class FineTuningJob(BaseModel):
    """A job of `/v1/jobs` with another face."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    error: FineTuningError | None
    model: str
    fine_tuned_model: str | None
    """The last checkpoint of a job that succeeded; may be the `model` of another job."""
    organization_id: str
    training_file: str
    """Empty for a job whose data are no file."""
    validation_file: None = None
    result_files: list[str] = []
    trained_tokens: None = None
    hyperparameters: dict[str, Any]
    method: dict[str, Any] | None
    """Null where the SDK's types have no place for it: a `multi` of several graders, a job of `/v1/jobs`."""
    seed: int
    metadata: dict[str, str] | None
    integrations: None = None
    espo: EspoState


class FineTuningEvent(BaseModel):
    """An entry of a job's log."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class FineTuningCheckpoint(BaseModel):
    """A checkpoint of a job."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    """May be the `model` of another job."""
    fine_tuning_job_id: str
    metrics: dict[str, float | None]
    step_number: int


class ValidateGrader(Part):
    """A grader to check."""

    grader: GraderBody


class ValidatedGrader(BaseModel):
    """The grader is right; null where the SDK's types have no place for it."""

    grader: dict[str, Any] | None


class RunGrader(Part):
    """A grader to try out."""

    grader: GraderBody
    model_sample: str
    item: dict[str, Any] = Field(default_factory=dict)


class GraderErrors(BaseModel):
    """What kept a grader from a verdict; most are of kinds that this server refuses beforehand."""

    formula_parse_error: bool = False
    invalid_variable_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_server_error: bool = False
    model_grader_server_error_details: str | None = None
    other_error: bool = False
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False


class GraderMetadata(BaseModel):
    """How a grader came to its reward."""

    errors: GraderErrors
    execution_time: float
    name: str
    sampled_model_name: None = None
    scores: dict[str, float]
    token_usage: None = None
    type: str


class GraderRun(BaseModel):
    """What a grader says of a sample: 0 where it came to no verdict, with the reason in the errors."""

    reward: float
    sub_rewards: dict[str, float]
    metadata: GraderMetadata
    model_grader_token_usage_per_model: dict[str, int] = {}
