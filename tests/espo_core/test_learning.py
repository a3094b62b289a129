"""What training does to a model with a partial skill, on the example jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from espo_core.jobfile import read_job
from tests.espo_core.tiny import metrics_of, run_job

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def countdown(steps: int, **algorithm: Any) -> JobSpec:
    document = read_job(EXAMPLES / "countdown3.yaml")[0].model_dump(mode="json")
    document["schedule"] |= {
        "steps": steps,
        "evaluate_every": 0,
        "checkpoint_every": 0,
        "samples_per_step": 0,
    }
    document["algorithm"] = {**document["algorithm"], **algorithm}
    return parse_job_spec(document)


def means(spec: JobSpec, work_dir: Path, metric: str) -> list[float]:
    steps = metrics_of(run_job(spec, work_dir, EXAMPLES / "tiny-base"))
    return [value for values in steps.values() if (value := values[metric]) is not None]


@pytest.mark.slow
def test_countdown_is_learned(tmp_path: Path) -> None:
    rewards = means(countdown(100), tmp_path, "reward/mean")
    assert sum(rewards[-10:]) / 10 > sum(rewards[:10]) / 10 + 0.10


@pytest.mark.slow
def test_trust_regions_are_as_tight_as_they_should_be(tmp_path: Path) -> None:
    algorithms: dict[str, dict[str, Any]] = {
        "grpo": {"name": "grpo", "parameters": {}},
        "espo 0.2": {"parameters": {"alpha": 0.2}},
        "espo 0.05": {"parameters": {"alpha": 0.05}},
        "gspo": {"name": "gspo", "parameters": {}},
    }
    clipped = [
        sum(means(countdown(6, **one), tmp_path / name, "policy/clip_fraction")) / 6
        for name, one in algorithms.items()
    ]
    assert clipped == sorted(clipped)
    assert clipped[0] < 0.02
    assert clipped[-1] > 0.1
