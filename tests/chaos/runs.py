"""What trains where, seen from outside: by the workers' folders and their processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

import psutil

from tests.chaos.fault import NothingToHarm
from tests.chaos.stack import WORKERS, Stack

T = TypeVar("T")
PATIENCE_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A run process at work."""

    worker: str
    job: str
    attempt: int
    folder: Path
    process: psutil.Process


def children(stack: Stack, worker: str) -> list[psutil.Process]:
    """The worker's run processes, the oldest first: it has the job, a younger one waits for the next."""
    if not stack.is_running(worker):
        return []
    try:
        found = psutil.Process(stack.processes[worker].pid).children()
        return sorted((one for one in found if _is_run(one)), key=psutil.Process.create_time)
    except psutil.NoSuchProcess:
        return []


def trainings(stack: Stack) -> list[Training]:
    """Every run process that has its order, of workers that no long fault has in its hands."""
    found = []
    for worker in WORKERS:
        if worker in stack.deaf:
            continue
        for folder in (stack.home / "worker" / f"{worker}-1").glob("job-*"):
            processes = children(stack, worker)
            job, _, attempt = folder.name.rpartition("-")
            if processes and (folder / "work").is_dir():
                found.append(
                    Training(
                        worker=worker, job=job, attempt=int(attempt), folder=folder, process=processes[0]
                    )
                )
    return found


def some_training(stack: Stack, rng: Random) -> Training:
    """One of the run processes at work, waited for.

    Raises:
        NothingToHarm: none trains.
    """
    found = await_sight(lambda: trainings(stack))
    return rng.choice(sorted(found, key=lambda one: one.worker))


def await_sight(look: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS, pause: float = 0.02) -> T:
    """The first truthy sight.

    Raises:
        NothingToHarm: none came in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # the workers delete while we look
            if sight := look():
                return sight
        time.sleep(pause)
    raise NothingToHarm


def kill_run(stack: Stack, training: Training) -> None:
    """SIGKILL, noted with its time.

    Raises:
        NothingToHarm: it had ended already.
    """
    try:
        training.process.kill()
    except psutil.NoSuchProcess:
        raise NothingToHarm from None
    stack.run_kills.append((training.job, training.attempt, time.time()))


def _is_run(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "worker.child" in process.cmdline()
    except psutil.NoSuchProcess:
        return False
