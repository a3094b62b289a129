"""A real worker: Celery, run process and trainer, on a tiny model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from espo_contracts.events import Checkpoint
from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from espo_contracts.wire import TASK_NAME, Hint, Presence, queue_name
from tests.espo_core.tiny import save_tiny_model
from tests.worker.api_side import ApiSide, wait_for

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


def job(steps: int, **resources: Any) -> JobSpec:
    """A job with a checkpoint at every second step."""
    return parse_job_spec(
        {
            "seed": 3,
            "model": {"name": "tiny-base"},
            "data": {"task": {"name": "countdown", "parameters": {"numbers": 3, "train_rows": 50}}},
            "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 12},
            "optimiser": {"learning_rate": 1e-2, "mini_batches": 2},
            "schedule": {"steps": steps, "checkpoint_every": 2},
            "reward": [{"verifier": "length", "parameters": {"full_until": 0, "zero_from": 12}}],
            "resources": resources,
        }
    )


class Worker:
    """A worker process."""

    def __init__(self, redis_url: str, home: Path, **settings: str) -> None:
        self.home = home
        self.log = home / "worker.log"
        model = home / "models" / "tiny-base"
        if not model.exists():
            save_tiny_model(model)
        environment = os.environ | {"ESPO_REDIS_URL": redis_url, "ESPO_HOME": str(home)} | settings
        command = [sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker", "-Q", "espo.cpu"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    @property
    def run_processes(self) -> list[psutil.Process]:
        """Run processes that this worker has started and that live."""
        with_home = []
        for process in psutil.process_iter(["cmdline"]):
            if "worker.child" in (process.info["cmdline"] or []) and _is_of(process, self.process.pid):
                with_home.append(process)
        return with_home

    def stop(self) -> int:
        """Exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _is_of(process: psutil.Process, pid: int) -> bool:
    try:
        return process.ppid() == pid
    except psutil.Error:
        return False


@contextmanager
def working(redis_url: str, home: Path, **settings: str) -> Iterator[Worker]:
    """A worker that is idle and warm."""
    worker = Worker(redis_url, home, **settings)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


def wait_idle(api: ApiSide, worker: Worker) -> None:
    """Wait for a sign of presence that says idle."""

    def is_idle() -> bool:
        assert worker.process.poll() is None, worker.log.read_text()
        return any(presence.state == "idle" for presence in presences(api))

    wait_for(is_idle, START_SECONDS)


def presences(api: ApiSide) -> list[Presence]:
    documents = [api.client.get(key) for key in api.client.keys("espo:worker:*")]  # type: ignore[union-attr]
    return [Presence.model_validate_json(document) for document in documents if document]


def hint(api: ApiSide, resources: str = "cpu") -> None:
    """Tells the workers of the present attempt."""
    with Celery("hints", broker=api.url, set_as_current=False) as celery:
        document = Hint(job=api.job, attempt=api.attempt).model_dump()
        celery.send_task(TASK_NAME, kwargs=document, queue=queue_name(resources), ignore_result=True)


def final_weights(api: ApiSide) -> str:
    """Hash of the weights of the newest checkpoint."""
    told = [one.event for one in api.database if isinstance(one.event, Checkpoint)]
    newest = max(told, key=lambda checkpoint: checkpoint.step)
    return next(entry.sha256 for entry in newest.files if entry.name == "model.safetensors")
