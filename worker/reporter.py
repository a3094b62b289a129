"""Numbers a run's events, keeps them on disk, sends them, and goes back when Redis has lost them.

A thread of its own does all the talking, so that training never waits for Redis. It reads the attempt's
control fields four times a second: `committed` says what may be forgotten, a new `opened` that the API side
made the stream anew and what is not committed must be sent again, `attempt` and `desired` what is wanted.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from espo_contracts.events import Event, NumberedEvent
from espo_contracts.job import Desired
from espo_contracts.wire import EVENT_FIELD, job_key, run_key, stream_id
from worker.spool import Spool
from worker.wishes import Wish, Wishes

POLL_SECONDS = 0.25
BATCH_BYTES = 1 << 20
WINDOW_BYTES = 8 << 20
"""Sent but not committed: what a run may hold of Redis's memory while the API side is away."""
LOST_SECONDS = 60.0
"""How long a finished run waits for the API side to open a stream that Redis lost."""
_OUTAGE_SECONDS = 0.5
_FULL_DISK_SECONDS = 1.0

_WISHES = {Desired.PAUSE: Wish.PAUSE, Desired.CANCEL: Wish.CANCEL}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The fields of the assignment that change while an attempt runs."""

    attempt: int
    desired: Desired
    committed: int
    opened: str
    has_stream: bool = True
    """A hash without its stream: the attempt is over for the API side, since Redis loses both or neither."""


class Reporter:
    """The events of one attempt on their way to the database."""

    def __init__(self, client: Redis, job: str, control: Control, spool: Spool, wishes: Wishes) -> None:
        self._client = client
        self._job = job
        self._control = control
        self._spool = spool
        self._wishes = wishes
        self._append_lock = threading.Lock()
        self._sent = control.committed
        self._in_window: deque[tuple[int, int]] = deque()
        self._window_bytes = 0
        self._missing_since: float | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"reporter-{job}", daemon=True)

    def start(self) -> None:
        """Begin to talk to Redis."""
        self._thread.start()

    @property
    def committed(self) -> int:
        """Events up to this seq are in the database."""
        return self._control.committed

    @property
    def spool_bytes(self) -> int:
        """Bytes of events on this disk."""
        return self._spool.size

    def report(self, event: Event) -> int:
        """Number the event and put it on disk; its seq. A full disk is waited out: nothing is dropped."""
        with self._append_lock:
            seq = self._spool.last_seq + 1
            numbered = NumberedEvent(attempt=self._control.attempt, seq=seq, time=time.time(), event=event)
            self._append(numbered.model_dump_json().encode())
        self._wake.set()
        return seq

    def drain(self, timeout_seconds: float) -> bool:
        """Whether, within this time, all is in the database or can never be, such as of a fenced attempt.

        Asks Redis at once: the worker takes no other job before it knows.
        """
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(self._is_settled, timeout_seconds)

    def close(self) -> None:
        """Stop talking."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._spool.close()

    def _is_settled(self) -> bool:
        is_committed = self._control.committed >= self._spool.last_seq
        is_lost = self._missing_since is not None and time.monotonic() - self._missing_since > LOST_SECONDS
        return is_committed or is_lost or self._wishes.wish is Wish.FENCE

    def _append(self, line: bytes) -> None:
        while not self._closing.is_set():
            try:
                return self._spool.append(line)
            except OSError as error:
                log.error("%s: cannot write the spool (%s); the run waits", self._job, error)
                self._closing.wait(_FULL_DISK_SECONDS)
        return None

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self._exchange()
            except RedisError as error:
                log.warning("%s: cannot report now (%s)", self._job, error)
                self._closing.wait(_OUTAGE_SECONDS)
            with self._progress:
                self._progress.notify_all()
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _exchange(self) -> None:
        self._poll()
        while self._may_send and (lines := self._spool.read(self._sent, self._free_bytes)):
            self._send(lines)
            self._poll()

    @property
    def _may_send(self) -> bool:
        return self._missing_since is None and self._free_bytes > 0 and self._wishes.wish is not Wish.FENCE

    @property
    def _free_bytes(self) -> int:
        return min(BATCH_BYTES, WINDOW_BYTES - self._window_bytes)

    def _poll(self) -> None:
        control = read_control(self._client, self._job)
        if control is None or control.attempt < self._control.attempt:
            self._missing_since = self._missing_since or time.monotonic()
            return None
        self._missing_since = None
        if control.attempt > self._control.attempt:
            return self._wishes.add(Wish.FENCE)
        self._follow(control)
        if not control.has_stream:
            self._wishes.add(Wish.FENCE)
        elif control.desired in _WISHES:
            self._wishes.add(_WISHES[control.desired])
        return None

    def _follow(self, control: Control) -> None:
        """Go back where the stream is new, forget what is committed."""
        if control.opened != self._control.opened:
            self._sent = control.committed
            self._in_window.clear()
            self._window_bytes = 0
        self._control = control
        self._spool.forget(control.committed)
        while self._in_window and self._in_window[0][0] <= control.committed:
            self._window_bytes -= self._in_window.popleft()[1]

    def _send(self, lines: list[bytes]) -> None:
        """All or nothing, so that a server that fills up in the middle leaves no gap."""
        pipeline, key = self._client.pipeline(transaction=True), run_key(self._job)
        for seq, line in enumerate(lines, self._sent + 1):
            identity = stream_id(self._control.attempt, seq)
            # Not by `xadd`, which takes as long as all the rest of an event's way from here.
            pipeline.execute_command("XADD", key, "NOMKSTREAM", identity, EVENT_FIELD, line)  # type: ignore[no-untyped-call]
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        if None in answers:
            return  # no stream: the next poll tells whether Redis lost it or the attempt is over
        _raise_unless_doubles(answers)
        self._in_window.extend(enumerate(map(len, lines), self._sent + 1))
        self._window_bytes += sum(map(len, lines))
        self._sent += len(lines)


def read_control(client: Redis, job: str) -> Control | None:
    """The control fields of the job's live attempt; None where Redis has lost them."""
    pipeline = client.pipeline(transaction=True)
    pipeline.hmget(job_key(job), ["attempt", "desired", "committed", "opened"])
    pipeline.exists(run_key(job))
    fields, has_stream = pipeline.execute()
    if None in fields:
        return None
    attempt, desired, committed, opened = map(json.loads, fields)
    return Control(
        attempt=attempt,
        desired=Desired(desired),
        committed=committed,
        opened=opened,
        has_stream=bool(has_stream),
    )


def _raise_unless_doubles(answers: list[Any]) -> None:
    """An id that is not above the last one is an event that Redis has had already."""
    for answer in answers:
        if isinstance(answer, Exception) and not (
            isinstance(answer, ResponseError) and "equal or smaller" in str(answer)
        ):
            raise answer
