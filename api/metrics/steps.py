"""What a job measured at one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class StepMetrics:
    """All figures of a step: None where one was not finite, `non_finite` then says what it was."""

    step: int
    time: float
    attempt: int
    values: dict[str, float | None]
    non_finite: dict[str, str]
