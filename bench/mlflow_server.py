"""MLflow's tracking server as a peer: what it takes of metrics over HTTP, on SQLite, with one worker."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from api.settings import REPOSITORY

INSTALLED = REPOSITORY / ".venv" / "mlflow"
START_SECONDS = 180.0
SECONDS = 5.0
"""Of each kind of call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Points a second: one step's metrics a call, as a trainer logs, and as many as a call may have."""

    by_step: float
    by_thousand: float


def is_installed() -> bool:
    """Whether `make .venv/mlflow.stamp` was run."""
    return (INSTALLED / "bin" / "mlflow").exists()


def points_per_second(metrics: int) -> Peer:
    """The figures of a server of its own."""
    with _serving() as base_url, httpx.Client(base_url=base_url, timeout=60.0, trust_env=False) as http:
        return Peer(by_step=_rate(http, metrics), by_thousand=_rate(http, 1000))


def _rate(http: httpx.Client, points: int) -> float:
    run = _post(http, "runs/create", {"experiment_id": "0", "start_time": 0})["run"]["info"]["run_id"]
    names = [f"area{number % 4}/quantity_{number}" for number in range(20)]
    step, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < SECONDS:
        batch = [
            {"key": names[index % 20], "value": index / 7, "timestamp": 0, "step": step + index // 20}
            for index in range(points)
        ]
        _post(http, "runs/log-batch", {"run_id": run, "metrics": batch})
        step += -(-points // 20)
    return 20 * step / seconds


def _post(http: httpx.Client, path: str, document: dict[str, Any]) -> Any:
    return http.post(f"/api/2.0/mlflow/{path}", json=document).raise_for_status().json()


@contextmanager
def _serving() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="espo-bench-") as folder, tempfile.TemporaryFile() as log:
        options = ["--port", port, "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command = [str(INSTALLED / "bin" / "python"), "-m", "mlflow", "server", *options]
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            for child in psutil.Process(server.pid).children(recursive=True):
                child.terminate()
            server.terminate()
            server.wait()


def _wait(base_url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{base_url}/health", timeout=2.0, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit("MLflow's server did not start")
