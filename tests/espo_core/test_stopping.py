"""A run that must make room: saved after its step, it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espo_contracts.events import Checkpoint
from espo_core.trainer import RunInputs, Trainer
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

JOBS: dict[str, dict[str, Any]] = {
    "in turn": {},
    "ahead": {"rollout": {"max_staleness": 2}},
    "evaluated": {"schedule": {"evaluate_every": 2}},
}


def told_at_question(number: int) -> Callable[[], bool]:
    """Says stop when it is asked for the so-manieth time: first before the first step, then after each."""
    questions = iter(range(1, 100))
    return lambda: next(questions) >= number


@pytest.mark.parametrize("name", JOBS)
def test_a_stopped_run_goes_on_bit_by_bit(name: str, tiny_model: Path, tmp_path: Path) -> None:
    parts = JOBS[name]
    spec = tiny_job(**{**parts, "schedule": {**parts.get("schedule", {}), "checkpoint_every": 0}})
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    expected = metrics_of(run_job(spec, whole, tiny_model))
    events = run_job(spec, begun, tiny_model, must_stop=told_at_question(4))
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [3]
    rest = run_job(spec, tmp_path / "rest", tiny_model, resume=begun / "checkpoint-3")
    assert metrics_of(events) | metrics_of(rest) == expected
    assert contents(tmp_path / "rest" / "checkpoint-6") == contents(whole / "checkpoint-6")


@pytest.mark.parametrize(("question", "done"), [(1, 0), (2, 1), (6, 5), (7, 6), (99, 6)])
def test_it_tells_how_far_it_came(question: int, done: int, tiny_model: Path, tmp_path: Path) -> None:
    inputs = RunInputs(
        spec=tiny_job(schedule={"checkpoint_every": 0}),
        work_dir=tmp_path,
        model=tiny_model,
        must_stop=told_at_question(question),
    )
    assert Trainer(inputs, lambda _: None).run() == done
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{done}"][: done and 1]


def test_a_run_with_nothing_left_to_do_is_done(tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(schedule={"steps": 1})
    run_job(spec, tmp_path, tiny_model)
    inputs = RunInputs(
        spec=spec, work_dir=tmp_path / "again", model=tiny_model, resume=tmp_path / "checkpoint-1"
    )
    assert Trainer(inputs, lambda _: None).run() == 1
    assert not list((tmp_path / "again").glob("checkpoint-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
