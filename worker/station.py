"""What one worker process owns: its place on disk, its warm run process, its sign of presence."""

from __future__ import annotations

import fcntl
import itertools
import logging
import shutil
import threading
from pathlib import Path
from typing import IO, cast

from redis import Redis

from espo_contracts.job import Desired
from espo_contracts.wire import (
    CLAIM_EXPIRY_SECONDS,
    HEARTBEAT_SECONDS,
    PRESENCE_SECONDS,
    Assignment,
    Hint,
    Presence,
    claim_key,
    job_key,
    own_version,
    worker_key,
)
from espo_transfer import connect
from worker import machine
from worker.cache import Cache
from worker.nursery import Nursery, child_environment
from worker.prepare import Sources
from worker.settings import Settings
from worker.signs import Sign
from worker.supervisor import Site, Supervisor
from worker.wishes import Wish, Wishes

log = logging.getLogger(__name__)


class Station:
    """A worker between its start and its end; runs one attempt at a time."""

    def __init__(self, settings: Settings) -> None:
        self._lock, self._worker = _claim_name(settings.folder, settings.worker_name)
        self._client = connect(settings.redis_url)
        self._device, self._devices = settings.worker_device, settings.worker_devices
        self._wishes: Wishes | None = None
        self._hint: Hint | None = None
        self._presence = Sign(
            self._client,
            worker_key(self._worker),
            self._sign,
            every=HEARTBEAT_SECONDS,
            expires=PRESENCE_SECONDS,
        )
        folder = settings.folder / self._worker
        _clear(folder)
        sources = Sources(
            client=self._client,
            cache=Cache(settings.folder / "cache", settings.worker_cache_bytes),
            model_path=settings.models,
            allow_hub=settings.allow_hub,
        )
        self._site = Site(
            worker=self._worker,
            device=self._device,
            folder=folder,
            client=self._client,
            sources=sources,
            nursery=Nursery(child_environment(allow_hub=settings.allow_hub, scratch=folder / "warm")),
            keeps_spare=settings.worker_spare,
            stop_seconds=settings.worker_stop_seconds,
            shutting_down=threading.Event(),
        )

    def open(self) -> None:
        """Be ready: from here on a hint may come. In a thread that lives as long as the process."""
        self._site.nursery.refill()
        self._presence.start()

    def train(self, hint: Hint) -> None:
        """Take the hinted attempt, unless another worker has it, and supervise it to its end."""
        if self._site.shutting_down.is_set():
            return  # the reconciler hints again
        assignment = claim(self._client, hint, self._worker)
        if assignment is None:
            return
        self._hint, self._wishes = hint, Wishes()
        self._presence.renew()
        if self._site.shutting_down.is_set():
            self._wishes.add(Wish.HAND_BACK)
        log.info("%s attempt %d begins", hint.job, hint.attempt)
        try:
            Supervisor(self._site, hint.job, assignment, self._wishes).run()
        finally:
            self._hint, self._wishes = None, None
            self._presence.renew()
            log.info("%s attempt %d has ended here", hint.job, hint.attempt)

    def hand_back(self) -> None:
        """Begin to stop: the run, if there is one, saves and ends, and goes on elsewhere."""
        self._site.shutting_down.set()
        wishes = self._wishes
        if wishes is not None:
            wishes.add(Wish.HAND_BACK)

    def close(self) -> None:
        """Leave nothing behind: no process, no sign of presence, no lock."""
        self.hand_back()
        self._site.nursery.close()
        self._presence.remove()
        self._client.close()
        self._lock.close()

    def _sign(self) -> Presence:
        hint = self._hint
        return Presence(
            worker=self._worker,
            device=self._device,
            devices=self._devices,
            device_name=machine.device_name(self._device),
            state="busy" if hint else "idle",
            job=hint and hint.job,
            attempt=hint and hint.attempt,
            version=own_version(),
        )


def claim(client: Redis, hint: Hint, worker: str) -> Assignment | None:
    """The assignment of an attempt that is ours from now on; None when it is not to be had.

    Raises:
        ValueError: the assignment is none.
        redis.RedisError: Redis does not answer; the reconciler hints again.
    """
    key = claim_key(hint.job, hint.attempt)
    if _attempt_of(client, hint.job) != hint.attempt:
        return None  # late, or of no job at all: a claim of ours would only lie there for a day
    if not client.set(key, worker, nx=True, ex=CLAIM_EXPIRY_SECONDS):
        return None
    fields = cast(dict[bytes, bytes], client.hgetall(job_key(hint.job)))
    if not fields:
        client.delete(key)  # Redis lost it; the attempt is hinted again when it is back
        return None
    assignment = Assignment.from_hash(fields)
    is_wanted = assignment.attempt == hint.attempt and assignment.desired is Desired.RUN
    # The claim of whoever has it may be lost: with Redis's data, or by its age.
    return assignment if is_wanted and not assignment.is_taken else None


def _attempt_of(client: Redis, job: str) -> int | None:
    """The attempt that the job's hash is of."""
    attempt = cast(bytes | None, client.hget(job_key(job), "attempt"))
    return None if attempt is None else int(attempt)


def _claim_name(folder: Path, name: str) -> tuple[IO[bytes], str]:
    """The first free name among `<name>-1`, `<name>-2`, ... of this machine, and the lock that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        lock = (folder / f"{name}-{number}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return lock, f"{name}-{number}"
    raise AssertionError("unreachable")


def _clear(folder: Path) -> None:
    """Remove what a worker of this name left when it was killed: its attempts are lost and start anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
