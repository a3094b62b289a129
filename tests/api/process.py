"""The API as a process of its own, from nothing, on embedded defaults."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from api.settings import REPOSITORY
from tests.api.rows import make_model_folder
from tests.servers import free_port


@dataclass(frozen=True)
class Process:
    """A running API, and a client with a key of it."""

    running: subprocess.Popen[bytes]
    client: httpx.Client

    @property
    def megabytes(self) -> float:
        """Most memory that it ever had resident."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@contextlib.contextmanager
def api_process(home: Path, redis_url: str) -> Iterator[Process]:
    """A process that is ready, on a new database."""
    make_model_folder(home / "models" / "toy")
    environment = os.environ | {"ESPO_HOME": str(home), "ESPO_REDIS_URL": redis_url}
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", port]
    running = subprocess.Popen([*command, "--log-level", "warning"], env=environment, cwd=REPOSITORY)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            _wait_until_ready(client)
            create = [sys.executable, "-m", "api.auth", "create", "--scopes", "read,write,admin"]
            made = subprocess.run(create, env=environment, cwd=REPOSITORY, capture_output=True, check=True)
            client.headers["authorization"] = f"Bearer {made.stdout.decode().strip()}"
            yield Process(running, client)
    finally:
        running.kill()
        running.wait()


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert client.get("/readyz").json()["status"] == "ok"
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
