from __future__ import annotations

from typing import Any

import pytest

from api.catalogue.models import facts_of
from api.jobs.duration import duration
from api.jobs.memory import sizes
from api.jobs.schemas import Duration
from api.jobs.workload import DataFacts, workload
from tests.api.jobs.needs import TINY_BASE, job


def seconds(**parts: dict[str, Any]) -> Duration:
    spec, facts = job(**parts), facts_of(TINY_BASE)
    assert facts is not None
    one = sizes(spec, facts, workload(spec, facts, DataFacts(characters=12, rows=512)))
    assert one is not None
    return duration(one)


def test_twice_the_steps_take_twice_the_time() -> None:
    one, two = seconds(schedule={"steps": 10}), seconds(schedule={"steps": 20})
    assert two.sampling == pytest.approx(2 * one.sampling)
    assert two.update == pytest.approx(2 * one.update)
    assert two.evaluation == one.evaluation > 0


@pytest.mark.parametrize(("every", "count"), [(0, 1), (5, 3), (4, 4), (100, 2)])
def test_evaluations_are_counted(every: int, count: int) -> None:
    """Before the first of ten steps, after every so many, after the last."""
    once = seconds(schedule={"steps": 10}).evaluation
    assert seconds(schedule={"steps": 10, "evaluate_every": every}).evaluation == pytest.approx(count * once)


def test_samples_of_an_evaluation_take_time() -> None:
    greedy = seconds().evaluation
    assert seconds(schedule={"evaluate_samples": 8}).evaluation > 3 * greedy


def test_rounds_epochs_and_a_reference_take_time() -> None:
    plain = seconds()
    assert seconds(rollout={"dynamic_sampling": True, "max_sampling_rounds": 3}).sampling == pytest.approx(
        3 * plain.sampling
    )
    assert seconds(optimiser={"epochs": 2}).update == pytest.approx(2 * plain.update)
    grpo = {"name": "grpo", "parameters": {"kl_coefficient": 0.01}}
    assert plain.update < seconds(algorithm=grpo).update < 1.4 * plain.update


def test_threads_and_a_gpu_are_faster() -> None:
    plain = seconds()
    assert seconds(resources={"cpu_threads": 4}).update < plain.update
    assert seconds(resources={"device": "gpu"}).update < plain.update / 10
    assert seconds(model={"lora": {}}).update < plain.update
