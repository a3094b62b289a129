"""What the API side does with an attempt's keys, at its smallest: opens, ingests in order, takes uploads."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis import Redis

from espo_contracts.events import Event, NumberedEvent
from espo_contracts.job import Desired, JobSpec
from espo_contracts.wire import (
    UPLOADS_KEY,
    Assignment,
    StoredFiles,
    Upload,
    job_key,
    run_key,
    stream_id,
)
from espo_transfer import Cancelled, FolderSource, TransferError, connect, fetch, serve

SPEC = {
    "model": {"name": "tiny-base"},
    "data": {"task": {"name": "countdown"}},
    "reward": [{"verifier": "countdown"}],
}


class ApiSide:
    """One job. `database` is what survives: events in order, and the store of files by hash."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.client: Redis = connect(url)
        self.job = f"job-{uuid.uuid4().hex}"
        self.attempt = 0
        self.committed = 0
        self.database: list[NumberedEvent] = []
        self.store = folder / "store"
        self.is_storing = True
        self._assignment: Assignment | None = None
        self._stop = threading.Event()

    def start_attempt(self, spec: JobSpec, resume: StoredFiles | None = None) -> None:
        """Opens the keys of the next attempt."""
        self.attempt += 1
        self.committed = 0
        self._assignment = Assignment(
            spec=spec, attempt=self.attempt, desired=Desired.RUN, committed=0, opened="", resume=resume
        )
        self.open()

    def open(self) -> None:
        """Makes the keys of the present attempt anew, from the database."""
        assert self._assignment is not None
        opened = self._assignment.model_copy(update={"committed": self.committed, "opened": uuid.uuid4().hex})
        pipeline = self.client.pipeline(transaction=True)
        pipeline.delete(run_key(self.job), job_key(self.job))
        pipeline.xadd(run_key(self.job), {"marker": "1"}, id=stream_id(self.attempt, self.committed))
        pipeline.hset(job_key(self.job), mapping={**opened.to_hash()})
        pipeline.execute()

    @property
    def assignment(self) -> Assignment:
        return Assignment.from_hash(self.client.hgetall(job_key(self.job)))  # type: ignore[arg-type]

    @property
    def events(self) -> list[Event]:
        """Events of the present attempt."""
        return [numbered.event for numbered in self.database if numbered.attempt == self.attempt]

    def wish(self, desired: Desired) -> None:
        self.client.hset(job_key(self.job), "desired", json.dumps(desired))

    def close_attempt(self) -> None:
        """As an attempt that is lost: its stream goes, its hash says stop."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.delete(run_key(self.job))
        pipeline.hset(job_key(self.job), "desired", json.dumps(Desired.CANCEL))
        pipeline.execute()

    def ingest(self) -> None:
        """One tick."""
        entries = self.client.xrange(run_key(self.job), min=f"({stream_id(self.attempt, self.committed)}")
        for identity, fields in entries:  # type: ignore[union-attr]
            event = NumberedEvent.model_validate_json(fields[b"event"])
            assert identity.decode() == stream_id(event.attempt, event.seq)
            assert (event.attempt, event.seq) == (self.attempt, self.committed + 1)
            self.database.append(event)
            self.committed = event.seq
        if entries:
            self.client.hset(job_key(self.job), "committed", self.committed)
            self.client.xtrim(
                run_key(self.job), minid=stream_id(self.attempt, self.committed + 1), approximate=False
            )
        elif self._assignment and not self.client.exists(job_key(self.job)):
            self.open()

    def take_uploads(self) -> None:
        """One tick."""
        if not self.is_storing:
            return
        for field, document in self.client.hgetall(UPLOADS_KEY).items():  # type: ignore[union-attr]
            upload = Upload.model_validate_json(document)
            if upload.state == "offered":
                with contextlib.suppress(TransferError):  # its worker gave up
                    self._store(field.decode(), upload)

    def _store(self, field: str, upload: Upload) -> None:
        for entry in upload.files:
            fetch(self.client, field, entry, self.store / entry.sha256, self._stop, patience_seconds=2)
        stored = upload.model_copy(update={"state": "stored"})
        self.client.hset(UPLOADS_KEY, field, stored.model_dump_json())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ingests and serves the store, in threads, inside the block; outlasts outages of Redis."""
        self._stop = stop = threading.Event()
        failures: list[BaseException] = []

        def work(tick: Callable[[], None]) -> None:
            while not stop.wait(0.02):
                try:
                    tick()
                except Cancelled:
                    return
                except (redis.ConnectionError, redis.TimeoutError):
                    stop.wait(0.1)
                except BaseException as error:
                    failures.append(error)
                    raise

        threads = [
            threading.Thread(target=work, args=(self.ingest,)),
            threading.Thread(target=work, args=(self.take_uploads,)),
            threading.Thread(target=serve, args=(self.client, "store", _Store(self.store), stop)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures


class _Store:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        files = {path.name: path for path in self._folder.glob("*")}
        return FolderSource(files).read(sha256, offset, length)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> float:
    """Seconds until `condition` held."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "waited too long"
        time.sleep(0.01)
    return time.monotonic() - begin
