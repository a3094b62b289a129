"""The service's worker with a trainer that has nothing to do: `python -m celery -A bench.noop_worker worker`.

Celery, claim, presence, spool, reporter and control are the worker's own; only the run is left out.
"""

from __future__ import annotations

import shutil

import worker.station
from espo_contracts.events import Finished, Started
from espo_contracts.wire import Assignment
from worker.celery_app import app
from worker.reporter import Control, Reporter
from worker.spool import Spool
from worker.supervisor import _WATCH_SECONDS, Site
from worker.wishes import Wishes

__all__ = ["app"]


class NoRun:
    """The supervision of an attempt that begins and ends at once."""

    def __init__(self, site: Site, job: str, assignment: Assignment, wishes: Wishes) -> None:
        self._folder = site.folder / job
        control = Control(
            attempt=assignment.attempt,
            desired=assignment.desired,
            committed=assignment.committed,
            opened=assignment.opened,
        )
        self._reporter = Reporter(site.client, job, control, Spool(self._folder), wishes)

    def run(self) -> None:
        """Tells the beginning and the end, and waits, as the worker does, until they are in the database."""
        self._reporter.start()
        self._reporter.report(Started(total_steps=1, device="cpu", parameters=1, trainable_parameters=1))
        self._reporter.report(Finished(step=1))
        while not self._reporter.drain(_WATCH_SECONDS):
            pass
        self._reporter.close()
        shutil.rmtree(self._folder)


class NoChildren:
    """The nursery of a worker that starts no run."""

    def __init__(self, *_: object) -> None:
        pass

    def refill(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


vars(worker.station).update(Supervisor=NoRun, Nursery=NoChildren)
