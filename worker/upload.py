"""Checkpoints on their way to the store: offered, served in chunks, told of once they are stored.

Two at a time, in threads of their own, so that training goes on. While the store is away checkpoints wait on
disk; when more wait than the job keeps anyway, the oldest waiting one gives way.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from espo_contracts.events import Checkpoint, Event, Log
from espo_contracts.wire import UPLOADS_KEY, Upload, upload_field
from espo_transfer import FolderSource, serve

PARALLEL = 2
_POLL_SECONDS = 0.1
_OUTAGE_SECONDS = 0.5
_REFUSE_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freight:
    """A checkpoint whose files lie complete in a folder."""

    checkpoint: Checkpoint
    folder: Path


class Uploads:
    """The checkpoints of one attempt."""

    def __init__(
        self, client: Redis, job: str, attempt: int, *, keep: int, report: Callable[[Event], int]
    ) -> None:
        self._client = client
        self._job = job
        self._attempt = attempt
        self._most_waiting = max(keep, PARALLEL)
        self._report = report
        self._changed = threading.Condition()
        self._waiting: deque[Freight] = deque()
        self._under_way = 0
        self._told: deque[tuple[int, Freight]] = deque()
        self._abort = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"upload-{job}-{number}", daemon=True)
            for number in range(PARALLEL)
        ]

    def start(self) -> None:
        """Begin to upload what is added."""
        for thread in self._threads:
            thread.start()

    def add(self, freight: Freight) -> None:
        """Take over a checkpoint: upload it, tell of it, delete it."""
        with self._changed:
            self._waiting.append(freight)
            crowded_out = self._waiting.popleft() if len(self._waiting) > self._most_waiting else None
            self._changed.notify_all()
        if crowded_out is not None:
            self._drop(crowded_out, "newer ones came before it could be sent")

    def finish(self, timeout_seconds: float) -> bool:
        """Whether, within this time, every checkpoint was stored and told of."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._under_way), timeout_seconds)

    def forget(self, committed: int) -> list[Freight]:
        """Checkpoints that the database knows now: their local folders are no longer needed."""
        done = []
        while self._told and self._told[0][0] <= committed:
            done.append(self._told.popleft()[1])
        return done

    def abort(self) -> None:
        """Give up what is not stored yet: from here on nothing more is told."""
        with self._changed:
            self._abort.set()
            self._waiting.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Give up what is not stored yet, and end the threads."""
        self.abort()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (freight := self._next()) is not None:
            self._upload(freight)

    def _next(self) -> Freight | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._abort.is_set())
            if self._abort.is_set():
                return None
            self._under_way += 1
            return self._waiting.popleft()

    def _upload(self, freight: Freight) -> None:
        step = freight.checkpoint.step
        field = upload_field(self._job, self._attempt, step)
        served = threading.Event()
        files = {entry.sha256: freight.folder / entry.name for entry in freight.checkpoint.files}
        server = threading.Thread(
            target=serve, args=(self._client, field, FolderSource(files), served), daemon=True
        )
        server.start()
        try:
            self._settle(freight, self._until_answered(field, freight))
        finally:
            if self._abort.is_set():
                files.clear()  # from here on requests are refused, so that the receiver need not wait in vain
                served.wait(_REFUSE_SECONDS)
            served.set()
            server.join()

    def _settle(self, freight: Freight, end: Upload | None) -> None:
        with self._changed:
            if end is None or self._abort.is_set():
                return
            if end.state == "stored":
                self._told.append((self._report(freight.checkpoint), freight))
            else:
                self._drop(freight, end.reason or "the server refused it")
            self._under_way -= 1
            self._changed.notify_all()

    def _until_answered(self, field: str, freight: Freight) -> Upload | None:
        """The offer as the API side has answered it; None when we give up first."""
        offer = Upload(
            job=self._job,
            attempt=self._attempt,
            step=freight.checkpoint.step,
            files=freight.checkpoint.files,
        )
        while not self._abort.wait(_POLL_SECONDS):
            try:
                answer = self._answer(field, offer)
            except RedisError as error:
                log.warning("%s: cannot offer its checkpoint now (%s)", field, error)
                self._abort.wait(_OUTAGE_SECONDS)
                continue
            if answer.state != "offered":
                self._withdraw(field)
                return answer
        self._withdraw(field)
        return None

    def _answer(self, field: str, offer: Upload) -> Upload:
        """The present state of the offer, which is made anew when Redis does not have it."""
        if self._client.hsetnx(UPLOADS_KEY, field, offer.model_dump_json()):
            return offer
        document = self._client.hget(UPLOADS_KEY, field)
        try:
            return offer if document is None else Upload.model_validate_json(document)
        except ValidationError:
            log.warning("%s: something else stands in the place of its offer", field)
            self._client.hdel(UPLOADS_KEY, field)  # the next look makes it anew
            return offer

    def _withdraw(self, field: str) -> None:
        try:
            self._client.hdel(UPLOADS_KEY, field)
        except RedisError:
            log.warning("%s: its offer stays in Redis until the API side clears it", field)

    def _drop(self, freight: Freight, reason: str) -> None:
        self._report(
            Log(level="warning", message=f"no checkpoint of step {freight.checkpoint.step}: {reason}")
        )
        shutil.rmtree(freight.folder, ignore_errors=True)
