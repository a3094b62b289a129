"""The example jobs say what they should and can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from espo_core.jobfile import read_job
from espo_core.objectives import get_objective
from espo_core.tasks import build_task
from espo_core.verifiers import build_reward

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
JOBS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("name", JOBS)
def test_every_example_is_a_valid_job(name: str) -> None:
    spec, file = read_job(EXAMPLES / name)
    assert get_objective(spec.algorithm.name, **spec.algorithm.parameters)
    assert build_reward(spec.reward)
    assert spec.data.task is None or build_task(spec.data.task.name, spec.data.task.parameters)
    assert (file is not None) == (spec.data.file is not None)
    assert spec.model.name is None or spec.model.name in ("tiny-base", "smollm2-135m-instruct")


def test_the_quickstart_is_the_recipe_that_is_known_to_work() -> None:
    spec, _ = read_job(EXAMPLES / "quickstart.yaml")
    assert (spec.schedule.steps, spec.rollout.prompts_per_step, spec.rollout.group_size) == (350, 32, 8)
    assert (spec.optimiser.learning_rate, spec.optimiser.mini_batches) == (2e-4, 4)
    assert (spec.algorithm.name, spec.algorithm.parameters) == ("espo", {"alpha": 0.2})
    assert spec.data.held_out.max_prompts >= 512
