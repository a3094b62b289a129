"""What a run emits, and the number each event gets at its source.

(job, attempt, seq) is unique; seq starts at 1 in each attempt and has no gap. JSON never carries NaN or an
infinity: `finite` turns them into null and names them in `non_finite`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from espo_contracts.job import FailureCode

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+){1,2}$")]
Text = Annotated[str, StringConstraints(max_length=65_536)]
Step = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """A document that crosses a boundary: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(Record):
    """One file of a checkpoint or a dataset: flat name, size in bytes, hash of the content."""

    name: FileName
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Started(Record):
    """The run process has model and data and begins, or continues after `resumed_from`."""

    type: Literal["started"] = "started"
    total_steps: Step
    resumed_from: Step | None = None
    device: str
    parameters: Annotated[int, Field(ge=0)]
    trainable_parameters: Annotated[int, Field(ge=0)]
    versions: dict[str, str] = {}


class Metrics(Record):
    """One step's figures, named `area/quantity`."""

    type: Literal["metrics"] = "metrics"
    step: Step
    values: Annotated[dict[MetricName, float | None], Field(max_length=256)]
    non_finite: dict[MetricName, Literal["nan", "inf", "-inf"]] = {}


class Sample(Record):
    """One response, with all that its advantage came from."""

    type: Literal["sample"] = "sample"
    step: Step
    group: Annotated[int, Field(ge=0)]
    prompt: Text
    completion: Text
    reward: float
    reward_parts: dict[str, float]
    is_verified: bool
    is_truncated: bool
    advantage: float


class Log(Record):
    """A line for people."""

    type: Literal["log"] = "log"
    level: Literal["debug", "info", "warning", "error"] = "info"
    message: Text


class Checkpoint(Record):
    """A checkpoint whose every file is in the store: emitted after its bytes have arrived there."""

    type: Literal["checkpoint"] = "checkpoint"
    step: Step
    files: Annotated[list[FileEntry], Field(min_length=1, max_length=256)]
    metrics: dict[MetricName, float | None] = {}


class Finished(Record):
    """The run ended as it was told to."""

    type: Literal["finished"] = "finished"
    outcome: Literal["succeeded", "cancelled", "paused", "handed_back"] = "succeeded"
    step: Step


class Failed(Record):
    """The run ended in trouble; a retryable failure starts the next attempt while there are some left."""

    type: Literal["failed"] = "failed"
    code: FailureCode
    message: Text
    hint: Text = ""
    is_retryable: bool = False
    log_tail: Text = ""


Event = Annotated[
    Started | Metrics | Sample | Log | Checkpoint | Finished | Failed, Field(discriminator="type")
]


class NumberedEvent(Record):
    """An event with its place in the order of its run. `time`: seconds since the epoch at the source."""

    attempt: Annotated[int, Field(ge=1)]
    seq: Annotated[int, Field(ge=1)]
    time: float
    event: Event


EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def finite(step: int, values: dict[str, float]) -> Metrics:
    """Metrics of a step, with NaN and infinities as null beside their name."""
    return Metrics(
        step=step,
        values={name: value if math.isfinite(value) else None for name, value in values.items()},
        non_finite={name: _spelling(value) for name, value in values.items() if not math.isfinite(value)},
    )


def _spelling(value: float) -> Literal["nan", "inf", "-inf"]:
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"
