"""Bodies of limits."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class LimitObject(_View):
    """One limit of the project."""

    name: Literal["queued_jobs", "running_jobs", "device_hours", "stored_bytes", "upload_bytes"]
    limit: float | None
    """Null: unlimited."""
    used: float | None
    """Null: nothing adds up."""
    frees_at: float | None
    """When the use begins anew, in seconds since the epoch; null: when something ends or is deleted."""


class RateObject(_View):
    """How many requests a key may send."""

    requests: int
    seconds: int


class LimitsObject(_View):
    """What the project may use, and what it uses."""

    object: Literal["limits"] = "limits"
    limits: list[LimitObject]
    rate: RateObject | None
    """Of each key; null: no limit. How this key stands is in the header `RateLimit` of each answer."""
