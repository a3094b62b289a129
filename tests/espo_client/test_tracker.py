from __future__ import annotations

from typing import Any

import pytest

from espo_client.display import figures_text
from espo_client.records import Event, Job, Progress
from espo_client.tracker import Tracker
from espo_contracts.job import JobStatus

QUEUED = Job(
    id="job-1", name="n", status=JobStatus.QUEUED, created_at=0.0, progress=Progress(total_steps=100)
)


def event(kind: str, step: int | None = None, **data: Any) -> Event:
    return Event(id=1, time=0.0, type=kind, step=step, attempt=2, data=data)


def test_it_follows_a_run_from_its_events() -> None:
    tracker = Tracker(QUEUED)
    assert tracker.seconds_left is None
    assert tracker.apply(event("started", total_steps=10, device="cpu", parameters=200_000)) is not None
    values = {"reward/mean": 0.25, "policy/clip_fraction": 0.01, "time/step_seconds": 2.0}
    assert tracker.apply(event("metrics", 4, values=values)) is None
    assert (tracker.status, tracker.step, tracker.total_steps) == (JobStatus.RUNNING, 4, 10)
    assert tracker.seconds_left == pytest.approx(12.0)
    assert figures_text(tracker) == "reward 0.250  clip 0.010"


def test_a_figure_that_is_not_finite_leaves_the_last_one() -> None:
    tracker = Tracker(QUEUED)
    tracker.apply(event("metrics", 1, values={"reward/mean": 0.5}))
    tracker.apply(event("metrics", 2, values={"reward/mean": None}))
    assert tracker.figure("reward/mean") == 0.5


def test_a_resumed_attempt_goes_back_to_its_checkpoint() -> None:
    tracker = Tracker(QUEUED)
    tracker.apply(event("metrics", 30, values={}))
    line = tracker.apply(event("started", total_steps=100, resumed_from=20, device="cpu", parameters=1))
    assert tracker.step == 20
    assert line == "attempt 2 goes on after step 20 on cpu"


def test_lines_for_people() -> None:
    tracker = Tracker(QUEUED)
    assert tracker.apply(event("log", level="warning", message="3 prompts dropped")) == "3 prompts dropped"
    assert tracker.apply(event("log", level="debug", message="noise")) is None
    assert tracker.apply(event("checkpoint", 50)) == "checkpoint at step 50 stored"
    assert tracker.apply(event("sample", 50, prompt="p")) is None
    tracker.apply(event("state", status="cancelled", reason=None))
    assert tracker.status == JobStatus.CANCELLED
