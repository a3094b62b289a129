"""Settings of what projects and keys may use; part of the API's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings

_Bound = Annotated[int, Field(ge=0)]


class LimitSettings(BaseSettings):
    """What holds for a project that has no limits of its own. Null: unlimited."""

    max_queued_jobs: _Bound | None = None
    """Jobs of a project that wait."""
    max_running_jobs: _Bound | None = None
    """Jobs of a project that run at a time; more wait."""
    max_device_hours: Annotated[float, Field(ge=0)] | None = None
    """Hours of devices in a calendar month (UTC)."""
    max_stored_bytes: _Bound | None = None
    """Files and checkpoints of a project."""
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 1 << 30
    """Bound of an uploaded file, of any project."""
    rate_limit_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 12_000
    """Requests of a key in `rate_limit_seconds`, all at once if it wants; 0: no limit."""
    rate_limit_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    rate_limit_store: Literal["memory", "redis"] = "memory"
    """Where requests are counted. `redis` where several API processes are to count together."""
    cors_origins: str = ""
    """Origins of web pages that may call the API from a browser, by comma. Default: none."""
