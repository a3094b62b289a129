"""What `espo up` starts: commands, their environment and their order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from espo_client.errors import ServiceError
from espo_client.home import model_path
from espo_client.services.address import Address
from espo_client.services.child import Command
from espo_client.services.redis_server import RedisPlan

# What the client is told is no business of the servers, and a key in an environment is easily shown.
CLIENT_ONLY = ("ESPO_API_KEY", "ESPO_BASE_URL")
# Nobody waits long after Ctrl-C: a run that needs more time to save goes on from its last checkpoint.
WORKER_STOP_SECONDS = 10


def environment(home: Path, redis: RedisPlan | None) -> dict[str, str]:
    """The environment of every child: what the user set, and the embedded defaults for the rest."""
    inherited = {name: value for name, value in os.environ.items() if name not in CLIENT_ONLY}
    settings = {"ESPO_HOME": str(home), "ESPO_MODEL_PATH": model_path(home), "PYTHONUNBUFFERED": "1"}
    if redis is not None:
        settings |= {"ESPO_REDIS_URL": redis.url, "ESPO_BROKER_URL": redis.url}
    return inherited | settings


def redis_command(redis: RedisPlan, environment: dict[str, str]) -> Command:
    return Command(name="redis", arguments=redis.arguments, environment=environment, grace_seconds=5.0)


def api_command(address: Address, environment: dict[str, str]) -> Command:
    options = ["--host", address.host, "--port", str(address.port), "--no-access-log"]
    # Open event streams never end by themselves; the rest of the grace time is for the loops.
    options += ["--timeout-graceful-shutdown", "2"]
    arguments = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", *options]
    return Command(name="api", arguments=arguments, environment=environment, grace_seconds=8.0)


def worker_command(environment: dict[str, str]) -> Command:
    """One worker of the class in `ESPO_WORKER_DEVICE`.

    Raises:
        ServiceError: there is no such class.
    """
    device = environment.get("ESPO_WORKER_DEVICE") or "cpu"
    if device not in ("cpu", "gpu"):
        raise ServiceError(f"ESPO_WORKER_DEVICE={device} is no class of worker: set cpu or gpu.")
    options = [
        "-P",
        "threads",
        "-c",
        "1",
        "-Q",
        f"espo.{device}",
        "--hostname",
        f"{device}@%h",
        "--loglevel",
        "INFO",
    ]
    arguments = [sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker", *options]
    return Command(
        name="worker",
        arguments=arguments,
        environment=environment
        | {"ESPO_WORKER_DEVICE": device, "ESPO_WORKER_STOP_SECONDS": str(WORKER_STOP_SECONDS)},
        grace_seconds=WORKER_STOP_SECONDS + 15.0,
    )
