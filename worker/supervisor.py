"""One attempt from its claim to its last event: prepare, run, watch, explain, deliver.

The order at the end matters. The run's last event is numbered only after every checkpoint of it is stored,
so that a job which reads `succeeded` has its checkpoints; and the worker takes the next job only after that
event is in the database, because its spool would not outlive it.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redis import Redis

from espo_contracts.events import Checkpoint, Event, Failed, Finished, Log
from espo_contracts.wire import HEARTBEAT_SECONDS, Assignment, Beat, beat_key
from espo_transfer import Cancelled, TransferError
from worker import machine
from worker.nursery import Nursery
from worker.order import RunOrder
from worker.prepare import Sources, UnpreparedError, prepare
from worker.process import RunProcess
from worker.reporter import Control, Reporter
from worker.signs import Sign
from worker.spool import Spool
from worker.upload import Freight, Uploads
from worker.verdict import explain_death, not_brought, timed_out
from worker.wishes import Wish, Wishes

BEAT_EXPIRY_SECONDS = 60
GRACE_SECONDS = 5.0
HAND_BACK_SECONDS = 5.0
"""How long a worker that is told to stop waits for its last event to be taken."""
_WATCH_SECONDS = 0.05
_FULL_DISK_SECONDS = 1.0
_NO_SPACE = "the disk of worker {} is full: the run begins when there is space"
FULL_DISK = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)

End = Finished | Failed
# The end of a run that others wanted to end.
_OUTCOMES: dict[Wish, Literal["handed_back", "paused", "cancelled"]] = {
    Wish.HAND_BACK: "handed_back",
    Wish.PAUSE: "paused",
    Wish.CANCEL: "cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a worker process gives to each of its runs."""

    worker: str
    device: machine.Device
    folder: Path
    client: Redis
    sources: Sources
    nursery: Nursery
    keeps_spare: bool
    stop_seconds: float
    """What a run that must make room has to save itself and to send what it saved."""
    shutting_down: threading.Event


class Supervisor:
    """The supervision of one attempt."""

    def __init__(self, site: Site, job: str, assignment: Assignment, wishes: Wishes) -> None:
        self._site = site
        self._assignment = assignment
        self._wishes = wishes
        self._folder = site.folder / f"{job}-{assignment.attempt}"
        shutil.rmtree(self._folder, ignore_errors=True)
        control = Control(
            attempt=assignment.attempt,
            desired=assignment.desired,
            committed=assignment.committed,
            opened=assignment.opened,
        )
        self._reporter = Reporter(site.client, job, control, Spool(self._folder / "spool"), wishes)
        keep = assignment.spec.schedule.keep
        self._uploads = Uploads(site.client, job, assignment.attempt, keep=keep, report=self._reporter.report)
        self._beat = Sign(
            site.client, beat_key(job), self._sign, every=HEARTBEAT_SECONDS, expires=BEAT_EXPIRY_SECONDS
        )
        self._pid = 0
        self._beats = 0
        self._step = assignment.resume.step or 0 if assignment.resume else 0
        self._progressed_at = time.monotonic()
        self._has_progressed = False
        self._told_end: End | None = None

    def run(self) -> None:
        """Supervise the attempt until nothing more can be done for it."""
        self._reporter.start()
        self._uploads.start()
        self._beat.start()
        try:
            self._deliver(self._end())
        finally:
            self._uploads.close()
            self._beat.close()
            self._reporter.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> End:
        """How the run ended by itself, or because it had to."""
        try:
            return self._train(self._prepared())
        except Cancelled:
            return Finished(outcome="cancelled", step=self._step)
        except UnpreparedError as error:
            return error.failed
        except (TransferError, OSError) as error:
            return not_brought(error)

    def _prepared(self) -> RunOrder:
        """The order of the run, every file of it here. On a full disk it waits: other runs make room."""
        is_told = False
        while True:
            try:
                order = prepare(self._site.sources, self._assignment, self._folder, self._wishes.stop)
                order.work_dir.mkdir(parents=True)
            except OSError as error:
                if error.errno not in FULL_DISK:
                    raise
                if not is_told:
                    is_told = True
                    self._reporter.report(Log(level="warning", message=_NO_SPACE.format(self._site.worker)))
                if self._wishes.stop.wait(_FULL_DISK_SECONDS):
                    raise Cancelled from None
            else:
                return order

    def _train(self, order: RunOrder) -> End:
        kernel_kills = machine.kernel_kills()
        process = self._site.nursery.take()
        self._pid = process.pid
        process.begin(order, self._on_event)
        is_late = not self._watch(process)
        self._let_save(process, order)
        process.terminate(GRACE_SECONDS)
        self._site.nursery.refill()
        if is_late:
            return timed_out(order.spec.resources.max_hours, log_tail=process.log_tail)
        return self._explained(process, was_out_of_memory=machine.kernel_kills() > kernel_kills)

    def _watch(self, process: RunProcess) -> bool:
        """Wait until the run ends or must end; False when its time is up."""
        allowed_seconds = 3600 * self._assignment.spec.resources.max_hours
        deadline = time.monotonic() + allowed_seconds - self._assignment.trained_seconds
        while process.returncode is None and not self._wishes.stop.wait(_WATCH_SECONDS):
            self._tidy()
            if self._site.keeps_spare and self._has_progressed:
                # Not earlier: its imports would slow the start down.
                self._site.nursery.refill()
            if time.monotonic() > deadline:
                return False
        return True

    def _let_save(self, process: RunProcess, order: RunOrder) -> None:
        """Wait until a run that must make room has ended itself with a checkpoint; not for one that has none
        of its own steps to save, and no longer than there is time."""
        if self._wishes.wish not in {Wish.HAND_BACK, Wish.PAUSE} or not self._has_progressed:
            return
        try:
            order.stop_file.touch()
        except OSError as error:
            log.warning("the run cannot be told to save (%s)", error)
            return
        while process.returncode is None and not self._must_hurry():
            self._wishes.abort.wait(_WATCH_SECONDS)
            self._tidy()

    def _must_hurry(self) -> bool:
        """Whether nothing more is waited for."""
        return self._wishes.abort.is_set() or self._wishes.age_seconds > self._site.stop_seconds

    def _explained(self, process: RunProcess, *, was_out_of_memory: bool) -> End:
        if isinstance(self._told_end, Finished):
            return self._told_end
        if self._told_end is not None:
            return self._told_end.model_copy(update={"log_tail": process.log_tail})
        return explain_death(
            process.returncode or 0,
            log_tail=process.log_tail,
            was_out_of_memory=was_out_of_memory,
            protocol_error=process.protocol_error,
        )

    def _deliver(self, end: End) -> None:
        """Store what is worth it, tell the end, and wait until it is known."""
        is_whole = False
        if not (isinstance(end, Failed) and end.is_retryable) or self._wishes.stop.is_set():
            # What a retry would compute again need not hold the retry up.
            is_whole = self._finish_uploads()
        self._uploads.abort()
        if self._wishes.wish is Wish.FENCE:
            return
        self._reporter.report(self._last_word(end, is_whole=is_whole))
        self._wait_until_known()

    def _finish_uploads(self) -> bool:
        """Whether every checkpoint was stored."""
        while not (is_done := self._uploads.finish(_WATCH_SECONDS)) and not self._must_hurry():
            self._tidy()
        return is_done

    def _last_word(self, end: End, *, is_whole: bool) -> End:
        """The end as others have asked for it, unless the run came to its own before."""
        wish = self._wishes.wish
        if wish is None:
            return end
        is_own = not end.is_retryable if isinstance(end, Failed) else is_whole and end.outcome == "succeeded"
        if is_own and wish is not Wish.CANCEL:
            return end
        return Finished(outcome=_OUTCOMES[wish], step=self._step)

    def _wait_until_known(self) -> None:
        left_seconds = HAND_BACK_SECONDS
        while not self._reporter.drain(_WATCH_SECONDS) and left_seconds > 0:
            if self._site.shutting_down.is_set():
                left_seconds -= _WATCH_SECONDS
        self._tidy()

    def _tidy(self) -> None:
        """Move checkpoints that are in the database into the cache: the next attempt may be ours."""
        for freight in self._uploads.forget(self._reporter.committed):
            self._site.sources.cache.adopt(freight.folder, freight.checkpoint.files)
            shutil.rmtree(freight.folder, ignore_errors=True)

    def _on_event(self, event: Event) -> None:
        """In the thread that listens to the run."""
        step = getattr(event, "step", self._step)
        if step != self._step:
            self._step, self._progressed_at, self._has_progressed = step, time.monotonic(), True
        if isinstance(event, Checkpoint):
            folder = self._folder / "work" / f"checkpoint-{event.step}"
            self._uploads.add(Freight(checkpoint=event, folder=folder))
        elif isinstance(event, Finished | Failed):
            self._told_end = event
        else:
            self._reporter.report(event)

    def _sign(self) -> Beat:
        self._beats += 1
        return Beat(
            worker=self._site.worker,
            attempt=self._assignment.attempt,
            count=self._beats,
            step=self._step,
            progressed_seconds_ago=time.monotonic() - self._progressed_at,
            device=machine.device_name(self._site.device),
            memory_bytes=self._memory_bytes() if self._pid else 0,
            spool_bytes=self._reporter.spool_bytes,
        )

    def _memory_bytes(self) -> int:
        devices = self._assignment.spec.resources.devices
        return machine.memory_bytes(self._pid, self._site.device, devices)
