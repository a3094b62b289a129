"""The campaign's judge sees each harm, and none where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from espo_client.records import Checkpoint, Curve, Event, JobDetail
from espo_contracts.events import FileEntry
from espo_contracts.job import JobStatus
from tests.chaos.invariants import judge
from tests.chaos.jobs import STEPS, plan
from tests.chaos.observer import Stay
from tests.chaos.stack import CutOff
from tests.chaos.user import Submitted

WEIGHTS = "a" * 64
REFERENCE = {
    "weights": WEIGHTS,
    "metrics": {str(step): {"reward/mean": step} for step in range(1, STEPS + 1)},
}


class Service:
    """What the public API would answer; a test changes it."""

    def __init__(self) -> None:
        self.log = [_event("started", 1, time=1.0)]
        self.log += [_metrics(step, attempt=1) for step in range(1, STEPS + 1)]
        self.log += [_event("finished", 1, time=100.0)]
        self.listed = [Checkpoint(step=STEPS, created_at=0.0, bytes=1, files=[_file(WEIGHTS)])]
        self.breaks_downloads = False

    def past_events(self, job: str) -> list[Event]:
        return self.log

    def metrics(self, job: str, *, names: list[str]) -> dict[str, Curve]:
        steps = sorted(
            {event.step or 0 for event in self.log if event.type == "metrics" and not event.is_superseded}
        )
        return {names[0]: Curve(steps=steps, values=[0.0] * len(steps))}

    def checkpoints(self, job: str) -> list[Checkpoint]:
        return self.listed

    def download(self, job: str, target: Path, *, step: int) -> None:
        if self.breaks_downloads:
            raise ValueError("wrong hash")


def _event(kind: str, attempt: int, *, time: float, **data: Any) -> Event:
    return Event(id=1, time=time, type=kind, attempt=attempt, data=data)


def _metrics(step: int, *, attempt: int, value: float | None = None) -> Event:
    values = {"reward/mean": step if value is None else value, "time/step_seconds": 0.1}
    return Event(id=1, time=float(step), type="metrics", step=step, attempt=attempt, data={"values": values})


def _file(sha256: str) -> FileEntry:
    return FileEntry(name="model.safetensors", size=1, sha256=sha256)


def _job(status: JobStatus = JobStatus.SUCCEEDED) -> Submitted:
    detail = JobDetail(id="job", name="", status=status, created_at=0.0)
    return Submitted(plan=plan(2), id="job", began=0.0, ended=100.0, detail=detail)


def _stay(attempt: int, worker: str, began: float, ended: float) -> Stay:
    return Stay(job="job", attempt=attempt, worker=worker, began=began, ended=ended)


def harms(
    service: Service,
    job: Submitted | None = None,
    stays: list[Stay] | None = None,
    cut_offs: list[CutOff] | None = None,
) -> set[str]:
    verdict = judge(
        service,  # type: ignore[arg-type]
        job or _job(),
        reference=REFERENCE,
        stays=stays or [],
        cut_offs=cut_offs or [],
    )
    return {kind for kind, _ in verdict.harms}


def test_nothing_is_wrong_with_a_good_job() -> None:
    assert harms(Service()) == set()


def test_a_job_without_an_end_is_lost() -> None:
    job = _job(JobStatus.RUNNING)
    job.ended = None
    assert harms(Service(), job) == {"lost"}


def test_a_failed_job_is_in_a_wrong_state_and_a_cancelled_one_if_nobody_cancelled() -> None:
    assert "wrong state" in harms(Service(), _job(JobStatus.FAILED))
    cancelled = _job(JobStatus.CANCELLED)
    assert "wrong state" in harms(Service(), cancelled)
    cancelled.is_cancelled = True
    assert harms(Service(), cancelled) == set()


def test_a_missing_step_and_a_double_one() -> None:
    service = Service()
    del service.log[5]
    assert harms(service) == {"gaps"}
    service = Service()
    service.log.insert(5, service.log[5])
    assert harms(service) == {"doubles"}


def test_a_figure_or_weights_that_differ() -> None:
    service = Service()
    service.log[5] = _metrics(5, attempt=1, value=0.0)
    assert harms(service) == {"weights"}
    service = Service()
    service.listed = [Checkpoint(step=STEPS, created_at=0.0, bytes=1, files=[_file("b" * 64)])]
    assert harms(service) == {"weights"}


def test_a_checkpoint_that_is_not_whole_or_missing() -> None:
    service = Service()
    service.breaks_downloads = True
    assert harms(service) == {"checkpoints"}
    service = Service()
    service.listed = []
    assert harms(service) == {"checkpoints"}


def test_events_of_an_older_attempt_after_a_newer_ones() -> None:
    service = Service()
    service.log[3] = _metrics(3, attempt=2)
    assert harms(service) == {"run twice"}


@pytest.mark.parametrize(
    ("older", "newer", "cut_offs", "is_allowed"),
    [
        (_stay(1, "worker-a", 0, 10), _stay(2, "worker-b", 11, 20), [], True),
        (_stay(1, "worker-a", 0, 10), _stay(2, "worker-b", 9, 20), [], False),
        (_stay(1, "worker-a", 0, 10), _stay(1, "worker-b", 9, 20), [], False),
        (_stay(1, "worker-a", 0, 50), _stay(2, "worker-b", 41, 60), [(5, 49)], True),
        (_stay(1, "worker-a", 0, 90), _stay(2, "worker-b", 41, 99), [(5, 49)], False),
        (_stay(1, "worker-a", 0, 50), _stay(2, "worker-b", 4, 60), [(5, 49)], False),
        (
            _stay(1, "worker-a", 0, 102),
            _stay(2, "worker-b", 100.2, 120),
            [],
            True,
        ),  # it had said its last word
    ],
)
def test_two_workers_with_one_job(
    older: Stay, newer: Stay, cut_offs: list[tuple[float, float]], is_allowed: bool
) -> None:
    notes = [CutOff(worker="worker-a", began=began, ended=ended) for began, ended in cut_offs]
    assert harms(Service(), stays=[newer, older], cut_offs=notes) == (set() if is_allowed else {"run twice"})
