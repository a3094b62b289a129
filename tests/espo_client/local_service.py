"""`espo up` as a user starts it, on a data folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from espo_client.services import lock
from espo_client.services.lock import Running
from tests.espo_client.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
# Every descendant inherits it: a run process gets no ESPO_ variables.
MARK = "TESTED_DATA_FOLDER"
# A step takes tens of milliseconds, so a job is over in about a second.
SHORT_JOB: dict[str, Any] = {
    "name": "short",
    "tags": ["test"],
    "model": {"name": "tiny-base"},
    "data": {
        "task": {"name": "countdown", "parameters": {"numbers": 3}},
        "held_out": {"max_prompts": 8},
    },
    "reward": [{"verifier": "countdown"}],
    "algorithm": {"name": "espo", "parameters": {"alpha": 0.1}},
    "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 24},
    "optimiser": {"learning_rate": 2e-4, "mini_batches": 2},
    "schedule": {"steps": 3, "evaluate_every": 0, "checkpoint_every": 2},
}
LONG_JOB = SHORT_JOB | {"name": "long", "schedule": {"steps": 100_000}}


def environment(home: Path, **changes: str) -> dict[str, str]:
    """The user's environment with this data folder and without anything that points elsewhere."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESPO_")}
    return inherited | {"ESPO_HOME": str(home), MARK: str(home)} | changes


def espo(
    *arguments: str, home: Path, changes: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """The running command `espo …`; its output is read through pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "espo_client", *arguments],
        cwd=ROOT,
        env=environment(home, **(changes or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started for this data folder and still runs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            # Valkey writes its title over its environment, but it works in its folder.
            is_ours = process.environ().get(MARK) == str(home) or Path(process.cwd()).is_relative_to(home)
            if is_ours and process.pid != os.getpid():
                found.append(process)
    return found


def wait_running(home: Path, up: subprocess.Popen[str]) -> Running:
    """The service, once it says that it is ready."""

    def ready() -> Running | None:
        assert up.poll() is None, up.communicate()[1]
        running = lock.find_running(home)
        return running if running is not None and running.base_url else None

    running = wait_until(ready, what="espo up is ready", seconds=90)
    assert running is not None
    return running


@contextmanager
def serving(home: Path, *arguments: str, **changes: str) -> Iterator[Running]:
    """A service that ends with the block, in order and without a process left."""
    up = espo("up", *arguments, home=home, changes=changes)
    try:
        yield wait_running(home, up)
        up.send_signal(signal.SIGINT)
        _, errors = up.communicate(timeout=60)
        assert up.returncode == 0, errors
    finally:
        up.kill()
        up.communicate()
    wait_until(lambda: not processes_of(home), what=f"nothing of {home} is left")
