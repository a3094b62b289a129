"""The campaign's user: submits jobs, cancels some, and reads, while things break around it."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from random import Random

from espo_client.client import EspoClient
from espo_client.errors import EspoApiError
from espo_client.records import JobDetail
from espo_contracts.job import JobStatus
from tests.chaos.jobs import Plan
from tests.chaos.stack import Stack

CANCELLED_SHARE = 0.08
PATIENCE_SECONDS = 300.0
"""A job may have to wait for a lease, and then for its turn."""


@dataclass(slots=True, kw_only=True)
class Submitted:
    """A job of the campaign, and what its user did to it."""

    plan: Plan
    id: str
    began: float
    is_cancelled: bool = False
    ended: float | None = None
    """When its user saw it at its end; None: lost."""
    detail: JobDetail | None = None


class User(threading.Thread):
    """Submits the plans one after the other, then waits for their ends."""

    def __init__(self, stack: Stack, plans: list[Plan], rng: Random, *, pause_seconds: float) -> None:
        super().__init__(name="user", daemon=True)
        self._stack = stack
        self._plans = plans
        self._rng = rng
        self._pause_seconds = pause_seconds
        self._client = EspoClient(stack.base_url, stack.api_key)
        self._files = stack.home / "rows"
        self._files.mkdir(exist_ok=True)
        self.jobs: list[Submitted] = []
        self.has_submitted = threading.Event()
        self._patience_ends: float | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self._client:
                self._client.catalogue("models")  # it is patient with a service that has answered once
                for plan in self._plans:
                    self._submit(plan)
                    self._stack.hurry.wait(self._rng.uniform(0.0, 2 * self._pause_seconds))
                    self._stack.hurry.clear()
                self.has_submitted.set()
                while any(job.ended is None for job in self.jobs) and not self._is_over():
                    self._look()
                    time.sleep(0.2)
        except Exception as error:  # noqa: BLE001 - handed to whoever joins us
            self.failure = error
            self.has_submitted.set()

    def expect_ends(self) -> None:
        """From now on nothing is harmed: once no job has come to its end for a while, the others are lost.

        Not a time for all of them: on a busy machine the last in the queue comes late, and is not lost.
        """
        self._patience_ends = time.monotonic() + PATIENCE_SECONDS

    def alive(self) -> int:
        """Jobs that have not ended."""
        return sum(job.ended is None for job in self.jobs)

    def _submit(self, plan: Plan) -> None:
        document = plan.document
        if plan.rows:
            document = plan.with_file(self._uploaded(plan.write_rows(self._files)))
        began = time.time()
        # One key for one wish: when the answer is lost the client asks again, and must not get two jobs.
        job = self._client.submit(document, idempotency_key=uuid.UUID(int=self._rng.getrandbits(128)).hex)
        self.jobs.append(Submitted(plan=plan, id=job.id, began=began))
        self._look()

    def _uploaded(self, path: Path) -> str:
        """Its id; sent again until it has arrived, since the client does not repeat an upload by itself."""
        while True:
            try:
                return self._client.upload(path).id
            except Exception as error:
                if self._is_over():
                    raise TimeoutError("the data file could not be uploaded") from error
                time.sleep(0.5)

    def _look(self) -> None:
        for job in self.jobs:
            if job.ended is not None:
                continue
            job.detail = self._client.get(job.id)
            if job.detail.status.is_terminal:
                job.ended = time.time()
                if self._patience_ends is not None:
                    self.expect_ends()
            elif job.detail.status is JobStatus.RUNNING and self._would_cancel(job):
                self._cancel(job)

    def _would_cancel(self, job: Submitted) -> bool:
        return not job.is_cancelled and Random(job.plan.seed).random() < CANCELLED_SHARE

    def _cancel(self, job: Submitted) -> None:
        try:
            self._client.cancel(job.id)
            job.is_cancelled = True
        except EspoApiError as error:
            if error.status != 409:  # it has ended in the meantime
                raise

    def _is_over(self) -> bool:
        return self._patience_ends is not None and time.monotonic() > self._patience_ends
