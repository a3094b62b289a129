"""Redis: names of keys, and the documents behind them.

Redis is transport and may lose everything at any time. The API side owns the keys of an attempt: it opens
them before the hint, opens them again when Redis lost them, and deletes them at the end. A worker only ever
appends to a stream that exists, so a stale worker can leave nothing behind. After the end of an attempt its
hash and claim stay for an hour, as an order to stop for whoever comes late.

A claim may be lost with the rest. So an attempt is opened again only where a worker is known to have it, and
then nobody else may claim it; one that may or may not be in somebody's hands is replaced by the next.

| key | type | written by | holds |
|---|---|---|---|
| espo:job:{job} | hash | API | the Assignment, field by field |
| espo:run:{job} | stream | worker | NumberedEvents, ids `<attempt>-<seq>`, after a marker at the watermark |
| espo:claim:{job}:{attempt} | string | worker | who took the attempt, set if absent |
| espo:beat:{job} | string, expires | worker | Beat |
| espo:worker:{worker} | string, expires | worker | Presence |
| espo:runs | set | API | jobs whose streams are open |
| espo:uploads | hash | worker, API | field `{job}:{attempt}:{step}` -> Upload |
| espo:receiving:{upload} | string, expires | API | which process receives the offer |
| espo:requests:{place} | list, expires | receiver | ChunkRequests; place is `store` or an upload's field |
| espo:chunks:{transfer} | list, expires | sender | chunk frames of one transfer |
| espo:loops:{process} | string, expires | API | age of the last good round of each loop of a process |
| espo:nudge | channel | API, worker | id of a job, or key of a worker, that has something new |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from espo_contracts.events import FileEntry, Record, Sha256
from espo_contracts.job import Desired, JobSpec
from espo_contracts.spec import JobId

TASK_NAME = "espo.train"
RUNS_KEY = "espo:runs"
UPLOADS_KEY = "espo:uploads"
NUDGE_CHANNEL = "espo:nudge"
STORE_PLACE = "store"
EVENT_FIELD = "event"

CHUNK_BYTES = 1 << 20
CHUNK_WINDOW = 16
HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0
PRESENCE_SECONDS = 15
TRANSFER_EXPIRY_SECONDS = 120
RECEIVING_SECONDS = 15
CLAIM_EXPIRY_SECONDS = 24 * 3600


def resource_class(device: str, devices: int) -> str:
    """Which workers may take a job: `gpu`, or `gpu.4` where four devices train together."""
    return device if devices == 1 else f"{device}.{devices}"


def queue_name(resources: str) -> str:
    """Celery queue of a resource class."""
    return f"espo.{resources}"


def job_key(job: str) -> str:
    return f"espo:job:{job}"


def run_key(job: str) -> str:
    return f"espo:run:{job}"


def stream_id(attempt: int, seq: int) -> str:
    """Id of an event in its stream: Redis itself refuses doubles and whatever an older attempt sends."""
    return f"{attempt}-{seq}"


def claim_key(job: str, attempt: int) -> str:
    return f"espo:claim:{job}:{attempt}"


def beat_key(job: str) -> str:
    return f"espo:beat:{job}"


def worker_key(worker: str) -> str:
    return f"espo:worker:{worker}"


def loops_key(process: str) -> str:
    return f"espo:loops:{process}"


def upload_field(job: str, attempt: int, step: int) -> str:
    return f"{job}:{attempt}:{step}"


def receiving_key(upload: str) -> str:
    return f"espo:receiving:{upload}"


def requests_key(place: str) -> str:
    return f"espo:requests:{place}"


def chunks_key(transfer: str) -> str:
    return f"espo:chunks:{transfer}"


def own_version() -> str:
    """Version of this installation, which worker and service should share; empty where none is installed."""
    try:
        return version("espo")
    except PackageNotFoundError:
        return ""


class Hint(Record):
    """The whole payload of a Celery message: something may be runnable."""

    job: JobId
    attempt: Annotated[int, Field(ge=1)]


class StoredFiles(Record):
    """A set of files that the worker can fetch from the store by hash."""

    files: list[FileEntry]
    step: int | None = None


class Assignment(Record):
    """What a worker needs to run an attempt; each field is a field of the hash `espo:job:{job}`, as JSON.

    `opened` changes whenever the API side opened the stream anew: the sender then goes back to `committed`.
    """

    spec: JobSpec
    attempt: int
    desired: Desired
    committed: int
    """Last seq of this attempt that is in the database."""
    opened: str
    is_taken: bool = False
    """A worker has been seen with it: whoever finds a hint of it now comes late, claim or no claim."""
    trained_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long earlier attempts trained: it counts towards `spec.resources.max_hours`."""
    resume: StoredFiles | None = None
    """Checkpoint to continue from, with its training state."""
    data: FileEntry | None = None
    """The uploaded JSONL file of `spec.data.file`."""
    base: StoredFiles | None = None
    """Model files of `spec.model.checkpoint`."""

    def to_hash(self) -> dict[str, str]:
        """Fields of the hash, each one JSON."""
        return {name: json.dumps(value) for name, value in self.model_dump(mode="json").items()}

    @classmethod
    def from_hash(cls, fields: Mapping[bytes, bytes]) -> Self:
        """The assignment that `to_hash` wrote, as HGETALL answers it.

        Raises:
            ValueError: fields are missing or wrong, such as in a hash that Redis lost.
        """
        return cls.model_validate({name.decode(): json.loads(value) for name, value in fields.items()})


class Beat(Record):
    """A sign of life of an attempt. `count` grows with each, so no clocks are compared."""

    worker: str
    attempt: int
    count: int
    step: int
    progressed_seconds_ago: float
    device: str
    memory_bytes: int
    spool_bytes: int = 0
    """Of events on the worker's disk: those not yet committed, and the last few MiB."""


class Presence(Record):
    """A worker that listens."""

    worker: str
    device: Literal["cpu", "gpu"]
    devices: int = 1
    device_name: str
    state: Literal["idle", "busy"]
    job: str | None = None
    attempt: int | None = None
    version: str = ""

    def serves(self, resources: str) -> bool:
        """Whether it takes jobs of a resource class."""
        return resources in served(self.device, self.devices)


def served(device: str, devices: int) -> list[str]:
    """Resource classes of the jobs that a worker with so many devices takes."""
    return [resource_class(device, count + 1) for count in range(devices)]


class Upload(Record):
    """A checkpoint on offer: announced by the worker; the API side sets `state` when it has every file."""

    job: str
    attempt: int
    step: int
    files: list[FileEntry]
    state: Literal["offered", "stored", "refused"] = "offered"
    reason: str = ""


class ChunkRequest(Record):
    """Please send `length` bytes at `offset` of the file with this hash to `espo:chunks:{transfer}`."""

    transfer: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    sha256: Sha256
    offset: Annotated[int, Field(ge=0)]
    length: Annotated[int, Field(ge=1, le=CHUNK_BYTES)]
