"""Watches the stack from outside while faults happen: who works on which attempt, and how memory grows."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from tests.chaos.stack import STEADY, WORKERS, Stack

LOOK_SECONDS = 0.1
MEMORY_SECONDS = 5.0
WARM_SECONDS = 60.0
"""After this a process has made its pools, and growth counts."""


@dataclass(slots=True, kw_only=True)
class Stay:
    """An attempt in the hands of a worker, from the first look that saw it to the last."""

    job: str
    attempt: int
    worker: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Resident memory of one long-lived process, once warm and at its end."""

    name: str
    seconds: float
    warm_bytes: int
    last_bytes: int


class Observer:
    """Looks ten times a second, in a thread of its own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stays: dict[tuple[str, int, str], Stay] = {}
        self._memory: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="observer")
        self.failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop looking.

        Raises: what a look raised; an observer that died saw nothing.
        """
        self._closing.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    @property
    def stays(self) -> list[Stay]:
        return list(self._stays.values())

    def growths(self) -> list[Growth]:
        """Of each process that lived long enough to say."""
        return [growth for key, seen in self._memory.items() if (growth := _growth(key[0], seen))]

    def _work(self) -> None:
        weighed_at = 0.0
        try:
            while not self._closing.wait(LOOK_SECONDS):
                self._look()
                if time.monotonic() - weighed_at > MEMORY_SECONDS:
                    self._weigh()
                    weighed_at = time.monotonic()
        except Exception as error:  # noqa: BLE001 - handed to whoever closes us
            self.failure = error

    def _look(self) -> None:
        now = time.time()
        for worker in WORKERS:
            if not self._stack.is_running(worker):
                continue
            for job, attempt in self._at_work(worker):
                fresh = Stay(job=job, attempt=attempt, worker=worker, began=now, ended=now)
                self._stays.setdefault((job, attempt, worker), fresh).ended = now

    def _at_work(self, worker: str) -> Iterator[tuple[str, int]]:
        """Attempts of which the worker has a folder now."""
        try:
            names = os.listdir(self._stack.home / "worker" / f"{worker}-1")  # noqa: PTH208 - no Path is needed
        except FileNotFoundError:
            return
        for name in names:
            job, _, attempt = name.rpartition("-")
            if job and attempt.isdigit():
                yield job, int(attempt)

    def _weigh(self) -> None:
        for name in STEADY:
            process = self._stack.processes.get(name)
            if process is None or process.poll() is not None:
                continue
            try:
                resident = psutil.Process(process.pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self._memory[name, process.pid].append((time.monotonic(), resident))


def _growth(name: str, seen: list[tuple[float, int]]) -> Growth | None:
    warm = [resident for moment, resident in seen if moment - seen[0][0] > WARM_SECONDS]
    if len(warm) < 4:
        return None
    seconds = seen[-1][0] - seen[0][0]
    return Growth(name=name, seconds=seconds, warm_bytes=max(warm[:2]), last_bytes=warm[-1])
