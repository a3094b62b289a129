"""JobSpec, the whole job in one typed document; JobStatus and its transition table.

queued -> running -> succeeded | failed | cancelled, with `paused` between `running` and `queued`. What the
user wants (`Desired`) is kept apart from what is (`JobStatus`). A job that failed or was cancelled is over
until its user retries it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from espo_contracts.part import Part
from espo_contracts.rollout import RolloutSpec
from espo_contracts.spec import (
    AlgorithmSpec,
    DataSpec,
    ModelSpec,
    OptimiserSpec,
    ResourceSpec,
    RewardPart,
    ScheduleSpec,
)

JobName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/@-]{1,64}$")]


class JobSpec(Part):
    """A reinforcement-learning job."""

    name: JobName = "job"
    """For people; need not be unique."""
    tags: list[Tag] = Field(default_factory=list, max_length=16)
    """For filtering."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Fixes prompts' order, sampling and initialisation: same spec and seed, same weights (on a CPU)."""
    model: ModelSpec
    data: DataSpec
    reward: Annotated[list[RewardPart], Field(min_length=1, max_length=16)]
    """Weighted verifiers."""
    algorithm: AlgorithmSpec = AlgorithmSpec()
    rollout: RolloutSpec = RolloutSpec()
    optimiser: OptimiserSpec = OptimiserSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    resources: ResourceSpec = ResourceSpec()

    @model_validator(mode="after")
    def _mini_batches_hold_a_group(self) -> Self:
        if self.optimiser.mini_batches > self.rollout.prompts_per_step:
            raise ValueError(
                f"optimiser.mini_batches ({self.optimiser.mini_batches}) must not exceed "
                f"rollout.prompts_per_step ({self.rollout.prompts_per_step}): a mini-batch takes whole groups"
            )
        return self


class JobStatus(StrEnum):
    """What a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether it stays so unless its user retries it."""
        return self in _TERMINAL


class Desired(StrEnum):
    """What the user wants."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    # queued -> paused is a pause before the start; queued -> failed is attempts used up before a start.
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED, JobStatus.FAILED}),
    # running -> queued is a lost attempt with another to come.
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.QUEUED,
            JobStatus.PAUSED,
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.CANCELLED,
        }
    ),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.SUCCEEDED: frozenset(),
    # A retry goes on from the newest checkpoint.
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}
_TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class FailureCode(StrEnum):
    """Why a job failed; stable, for programs."""

    INVALID_SPEC = "invalid_spec"
    MODEL_NOT_FOUND = "model_not_found"
    DATA_ERROR = "data_error"
    VERIFIER_ERROR = "verifier_error"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    WORKER_LOST = "worker_lost"
    TIMEOUT = "timeout"
    INTERNAL = "internal"
