"""The service that a run uses: the one of the data folder if it runs, else one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from espo_client import credentials
from espo_client.client import EspoClient
from espo_client.errors import ServiceError
from espo_client.services import lock
from espo_client.services.guarded import end_guarded, start_guarded

START_SECONDS = 120.0
# More than all children together may take.
STOP_SECONDS = 45.0


@contextmanager
def local_service(home: Path, console: Console) -> Iterator[EspoClient]:
    """A client of a service that is ready; a service that was started for it ends with the block.

    Raises:
        ServiceError: it did not start; with the end of its log.
    """
    running = lock.find_running(home)
    if running is not None:
        console.print(f"Using the service that runs on {home}", markup=False, highlight=False, soft_wrap=True)
        with _client(home, guard=None) as client:
            yield client
        return
    guard = _start(home)
    try:
        with console.status("starting Redis, the API and a worker"):
            client = _client(home, guard=guard)
        with client:
            console.print(f"The service runs at {client.base_url}", markup=False, highlight=False)
            yield client
    finally:
        with console.status("stopping the service"):
            end_guarded(guard, grace_seconds=STOP_SECONDS)


def _start(home: Path) -> subprocess.Popen[bytes]:
    log = _log(home)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return start_guarded(
            [sys.executable, "-m", "espo_client", "up", "--any-port"],
            environment=dict(os.environ) | {"ESPO_HOME": str(home)},
            output=output,
            grace_seconds=STOP_SECONDS,
        )


def _client(home: Path, *, guard: subprocess.Popen[bytes] | None) -> EspoClient:
    """A client, once the service has announced that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        running = lock.find_running(home)
        known = credentials.read(home / credentials.FILE_NAME)
        if running is not None and running.base_url and known is not None:
            return EspoClient(running.base_url, known.api_key)
        if guard is not None and guard.poll() is not None:
            raise ServiceError(
                f"The service did not start:\n{_log(home).read_text(errors='replace').strip()}"
            )
        if time.monotonic() > deadline:
            raise ServiceError(f"The service was not ready within {START_SECONDS:g} s; see {home / 'logs'}")
        time.sleep(0.1)


def _log(home: Path) -> Path:
    return home / "logs" / "up.log"
