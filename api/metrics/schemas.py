"""Curves as the API shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Series(BaseModel):
    """One metric. A null among the values was NaN or infinite; `non_finite` says which, by step."""

    steps: list[int]
    values: list[float | None]
    non_finite: dict[str, Literal["nan", "inf", "-inf"]]


class MetricsPage(BaseModel):
    """Curves of a job after `since_step`. The next poll asks for what is after `last_step`."""

    object: Literal["job.metrics"] = "job.metrics"
    job_id: str
    since_step: int
    last_step: int
    series: dict[str, Series]
