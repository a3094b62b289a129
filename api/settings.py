"""The API process's settings: environment variables with the prefix `ESPO_`, read once at the entry point.

Hyperparameters are not settings: they are in the job.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from api.limits.settings import LimitSettings

REPOSITORY = Path(__file__).resolve().parents[1]
LOOPS = ("dispatch", "ingest", "reconcile")


class Settings(LimitSettings):
    """Where things are, and what the operator allows."""

    model_config = SettingsConfigDict(env_prefix="ESPO_", frozen=True, use_attribute_docstrings=True)

    home: Path = REPOSITORY / ".espo"
    """Data folder."""
    database_url: str = ""
    """Default: SQLite in the data folder. `postgresql://…` is driven by psycopg."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Transport of events, chunks and control."""
    broker_url: str = ""
    """Celery's broker; default: the Redis above."""
    store_url: str = ""
    """Bytes of checkpoints and files: a folder, or `s3://`, `gs://`, `az://`. Default: in the data folder."""
    model_path: str = ""
    """PATH-like list of directories with model folders. Default: the data folder's and the examples."""
    allow_hub: bool = False
    """Whether jobs may name models and datasets of the Hugging Face hub."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Starts of one job before it fails with `worker_lost`."""
    loops: Annotated[str, NoDecode] = ",".join(LOOPS)
    """Background loops of this process, by comma; empty: none (they then run as `python -m api.loops`)."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 2 << 20
    """Bound of a request body other than an upload."""
    keep_details_days: Annotated[float, Field(ge=0)] = 90.0
    """How long samples and log lines of an ended job are kept. Its metrics stay."""
    max_samples: Annotated[int, Field(ge=1)] = 50_000
    """Of one job; the oldest go first."""
    max_log_lines: Annotated[int, Field(ge=1)] = 50_000
    """Of one job; the oldest go first."""
    metrics_token: SecretStr = SecretStr("")
    """What `GET /metrics` wants as bearer token; empty: it is open, and shows counts and times only."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: dict[str, object]) -> dict[str, object]:
        return _filled(values)

    @model_validator(mode="after")
    def _loops_exist(self) -> Self:
        unknown = sorted(set(self.loop_names) - set(LOOPS))
        if unknown:
            raise ValueError(f"ESPO_LOOPS names {', '.join(unknown)}; there are {', '.join(LOOPS)}")
        return self

    @property
    def loop_names(self) -> tuple[str, ...]:
        return tuple(name for part in self.loops.split(",") if (name := part.strip()))

    @property
    def is_embedded(self) -> bool:
        """Whether the database is our own SQLite file, which is migrated at start."""
        return self.database_url.startswith("sqlite")


def _filled(values: dict[str, object]) -> dict[str, object]:
    """The values given, and beside them the defaults that depend on others."""
    home = Path(str(values.get("home") or REPOSITORY / ".espo")).expanduser().resolve()
    values["home"] = home
    values["database_url"] = _driver(str(values.get("database_url") or f"sqlite:///{home}/espo.db"))
    values["broker_url"] = values.get("broker_url") or values.get("redis_url") or "redis://127.0.0.1:6379/0"
    values["store_url"] = values.get("store_url") or str(home / "store")
    values["model_path"] = (
        values.get("model_path") or f"{home / 'models'}{os.pathsep}{REPOSITORY / 'examples'}"
    )
    return values


def _driver(url: str) -> str:
    """A database URL with the driver that we ship: the URLs people have name none, or another one."""
    scheme, separator, rest = url.partition("://")
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
    }
    return drivers.get(scheme, scheme) + separator + rest
