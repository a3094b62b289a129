"""The service on embedded defaults in a throw-away data folder, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from espo_client.client import EspoClient
from espo_client.credentials import read

START_SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running service."""

    home: Path
    client: EspoClient
    process: psutil.Process

    def child(self, words: str) -> psutil.Process:
        """The process below ours whose command line holds these words, and that has no such child itself."""
        found = [
            child for child in self.process.children(recursive=True) if words in " ".join(child.cmdline())
        ]
        return found[-1]


@contextmanager
def embedded() -> Iterator[Embedded]:
    """A service that is ready, with an idle warm worker; stopped and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="espo-bench-") as folder:
        home = Path(folder)
        environment = os.environ | {"ESPO_HOME": folder}
        with (home / "up.log").open("wb") as log:
            up = subprocess.Popen(
                [sys.executable, "-m", "espo_client", "up"], env=environment, stdout=log, stderr=log
            )
        try:
            yield Embedded(home=home, client=_client(home, up), process=psutil.Process(up.pid))
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(timeout=60)


def _client(home: Path, up: subprocess.Popen[bytes]) -> EspoClient:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and up.poll() is None:
        if " is up at " in (home / "up.log").read_text():
            found = read(home / "credentials.json")
            assert found is not None
            return EspoClient(found.base_url, found.api_key)
        time.sleep(0.1)
    raise SystemExit(f"the service did not start:\n{(home / 'up.log').read_text()}")


def tiny_job(**changes: Any) -> dict[str, Any]:
    """A job whose steps take a few hundredths of a second."""
    document: dict[str, Any] = {
        "name": "bench",
        "model": {"name": "tiny-base"},
        "data": {"task": {"name": "countdown", "parameters": {"numbers": 3}}},
        "reward": [{"verifier": "countdown"}],
        "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 24},
        "optimiser": {"learning_rate": 2e-4, "mini_batches": 2},
        "schedule": {"steps": 1, "checkpoint_every": 0},
    }
    return document | changes
