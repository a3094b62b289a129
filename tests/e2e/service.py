"""The whole service as separate real processes, each of which a test may kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import redis

from api.settings import LOOPS
from espo_client.client import EspoClient
from espo_client.records import JobDetail
from tests.servers import free_port

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable


def wait_until(claim: Callable[[], T], *, seconds: float, what: str) -> T:
    """The first truthy value of `claim`; fails the test with `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := claim():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class Service:
    """Processes on a given Redis and database: the API, and workers. A name's first word is its part."""

    home: Path
    redis_url: str
    database_url: str
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    changes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Environment of single processes, by name, beside that of all; it counts from their next start."""
    api_key: str = ""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> EspoClient:
        return EspoClient(self.base_url, self.api_key)

    @cached_property
    def polling(self) -> EspoClient:
        """A client that stays: making one costs as much CPU as a third of a training step."""
        return EspoClient(self.base_url, self.api_key)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "ESPO_HOME": str(self.home),
            "ESPO_REDIS_URL": self.redis_url,
            "ESPO_DATABASE_URL": self.database_url,
            "ESPO_MODEL_PATH": f"{self.home}/models{os.pathsep}{ROOT}/examples",
            "ESPO_WORKER_DEVICE": "cpu",
            "HF_HUB_OFFLINE": "1",
        }

    def environment_of(self, name: str) -> dict[str, str]:
        return self.environment | self.changes.get(name, {})

    def command(self, name: str) -> list[str]:
        part = name.partition("-")[0]
        if part == "api":
            return [
                PYTHON, "-m", "uvicorn", "--factory", "api.app:create_app",
                "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning",
            ]  # fmt: skip
        if part in LOOPS:
            return [PYTHON, "-m", "api.loops", part]
        return [
            PYTHON, "-m", "celery", "-A", "worker.celery_app", "worker",
            "-Q", "espo.cpu", "-n", f"{name}@%h", "--loglevel", "warning",
        ]  # fmt: skip

    def start(self, name: str) -> None:
        """Starts the API, a loop (`dispatch`, `ingest-2`) or a worker; it writes to <home>/<name>.log."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), cwd=ROOT, env=self.environment_of(name), stdout=log, stderr=log
            )

    def run(self, *arguments: str) -> str:
        """Standard output of a Python module of the service, run to its end."""
        done = subprocess.run(
            [PYTHON, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def prepare(self) -> None:
        """Migrates the database and makes a key."""
        self.run("alembic", "upgrade", "head")
        output = self.run("api.auth", "create", "--project", "default", "--name", "tests")
        self.api_key = next(word for word in output.split() if word.startswith("espo_"))

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.processes["api"].poll() is None, self.log("api")
            try:
                return httpx.get(f"{self.base_url}/readyz", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_ready, seconds=180, what=f"API is ready; its log: {self.log('api')}")

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait(timeout=10)

    def log(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def submit(self, document: dict[str, Any]) -> str:
        with self.client as client:
            return client.submit(document).id

    def job(self, job: str) -> JobDetail:
        return self.polling.get(job)

    def reach_step(self, job: str, step: int) -> None:
        wait_until(lambda: self.job(job).progress.step >= step, seconds=90, what=f"{job} reaches step {step}")

    def wait_finished(self, job: str, seconds: float = 150) -> JobDetail:
        """The job when it has come to its end."""

        def ended() -> JobDetail | None:
            found = self.job(job)
            return found if found.status.is_terminal else None

        return wait_until(ended, seconds=seconds, what=f"{job} ends; worker's log: {self.log('worker')}")

    def metrics(self, job: str) -> dict[int, dict[str, Any]]:
        """Effective figures by step, without those that depend on the machine's speed and memory.

        Fails when a step has two effective rows.
        """
        with self.client as client:
            events = [event for event in client.past_events(job) if event.type == "metrics"]
        effective = [event.data for event in events if not event.is_superseded]
        by_step = {int(data["step"]): without_machine(data["values"]) for data in effective}
        assert len(by_step) == len(effective), "a step has two effective rows"
        return by_step

    def final_weights(self, job: str) -> str:
        """SHA-256 of the newest checkpoint's weights."""
        with self.client as client:
            files = client.checkpoint(job).files
        return next(entry.sha256 for entry in files if entry.name == "model.safetensors")

    def run_processes(self) -> list[psutil.Process]:
        """The processes that train: children of the workers."""
        return [child for process in self.processes.values() for child in _children(process.pid)]

    def training_process(self) -> psutil.Process:
        """The run process that is at work; the other ones wait for their job."""
        return max(self.run_processes(), key=lambda process: process.cpu_percent(0.3))

    def lasting_keys(self, job: str) -> list[str]:
        """Keys of a job in Redis that do not expire by themselves."""
        with redis.Redis.from_url(self.redis_url) as connection:
            keys = [key for key in connection.keys("*") if job in key.decode()]
            return [key.decode() for key in keys if connection.ttl(key) == -1]

    def worker_files(self, job: str) -> list[str]:
        """Names in the workers' folder that belong to a job; the workers may be deleting them right now."""
        folders = os.walk(self.home / "worker")  # passes over what has vanished, unlike Path.rglob
        return [name for _, inner, files in folders for name in [*inner, *files] if job in name]

    def stop(self) -> None:
        self.polling.close()
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{name} did not stop; its log: {self.log(name)}") from None


def _children(pid: int) -> Iterator[psutil.Process]:
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        if "worker.child" in " ".join(child.cmdline()):
            yield child


def without_machine(values: dict[str, Any]) -> dict[str, Any]:
    varying = ("time/", "memory/", "rollout/tokens_per_second")
    return {name: value for name, value in values.items() if not name.startswith(varying)}


def job_document(**changes: Any) -> dict[str, Any]:
    """A job that trains for a few seconds on one core."""
    document: dict[str, Any] = {
        "name": "e2e",
        "model": {"name": "tiny-base"},
        "data": {"task": {"name": "countdown", "parameters": {"numbers": 3}}},
        "reward": [{"verifier": "countdown"}],
        "algorithm": {"name": "espo", "parameters": {"alpha": 0.1}},
        "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 24},
        "optimiser": {"learning_rate": 2e-4, "mini_batches": 2},
        "schedule": {"steps": 40, "checkpoint_every": 5, "keep": 20},
    }
    return document | changes
