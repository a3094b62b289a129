"""Settings of a worker process, read once from the environment."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Each field is the environment variable `ESPO_<NAME>`. A worker has one address: Redis."""

    model_config = SettingsConfigDict(env_prefix="ESPO_", env_ignore_empty=True, frozen=True)

    redis_url: str
    """Events, control, heartbeats and bytes."""
    broker_url: str = ""
    """Celery's hints; the same Redis unless given."""
    home: Path = _REPOSITORY / ".espo"
    """Data folder: running jobs, spools and the cache lie in `worker` under it."""
    model_path: str = ""
    """PATH-like list of folders with models; `models` under the data folder and the examples unless given."""
    allow_hub: bool = False
    """Whether jobs may name models and datasets of the Hugging Face hub."""
    worker_device: Literal["cpu", "gpu"] = "cpu"
    """Class of jobs this worker takes."""
    worker_devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Devices of this machine that are this worker's: it takes jobs of up to so many `resources.devices`."""
    worker_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")] = socket.gethostname()
    """Name of this machine among the workers; several workers of one machine get a number after it."""
    worker_spare: bool = True
    """Keep a warm run process (300 MB) while another runs: after a crash the next begins at once."""
    worker_stop_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    """What a run that is paused, or whose worker is told to stop, has to finish its step, to save and to send
    what it saved; then it ends from its last checkpoint. Whoever stops the worker must wait 15 s longer."""
    worker_cache_bytes: Annotated[int, Field(ge=0)] = 20 << 30
    """Data files and checkpoints that came from the store are kept up to this size."""

    @property
    def broker(self) -> str:
        return self.broker_url or self.redis_url

    @property
    def folder(self) -> Path:
        return self.home.absolute() / "worker"

    @property
    def models(self) -> str:
        return self.model_path or os.pathsep.join(
            [str(self.home.absolute() / "models"), str(_REPOSITORY / "examples")]
        )
