"""A run whose rollouts come over HTTP: what only the trainer can tell of the old policy is filled in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from espo_core.checkpoint import load_training_state
from tests.espo_core.rollout.vllm.stand_in import StandIn, serving
from tests.espo_core.tiny import metrics_of, run_job, tiny_job


def run(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, *, steps: int = 2, **parts: Any
) -> dict[int, dict[str, Any]]:
    """Metrics by step of a run that a server samples; it goes on before the last step of an earlier one."""
    folder, before = tmp_path / "weights", tmp_path / "run" / f"checkpoint-{steps - 1}"
    folder.mkdir(exist_ok=True)
    data = {"held_out": {"max_prompts": 4}}
    spec = tiny_job(schedule={"steps": steps}, data=data, **{"rollout": {"engine": "vllm"}, **parts})
    resume = before if before.exists() else None
    with serving(StandIn(model)) as url:
        monkeypatch.setenv("ESPO_VLLM_URL", url)
        monkeypatch.setenv("ESPO_VLLM_FOLDER", str(folder))
        return metrics_of(run_job(spec, tmp_path / "run", model, resume=resume))


@pytest.mark.parametrize("algorithm", ["espo", "aer"])
def test_the_old_policy_is_known_whole(
    algorithm: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = run(tmp_path, tiny_model, monkeypatch, algorithm={"name": algorithm, "parameters": {}})
    assert sorted(metrics) == [1, 2]
    for told in metrics.values():
        assert all(value is not None and math.isfinite(value) for value in told.values())
        assert told["policy/sampler_gap"] < 1e-4
        assert 0.1 < told["policy/entropy"] < 3
        assert "policy/importance_mean" not in told
    # What an adaptive part remembers of the entropies is a number too.
    _, tensors = load_training_state(tmp_path / "run" / "checkpoint-2")
    assert all(one.isfinite().all() for one in tensors.values())


def test_ahead_of_the_updates_the_weights_make_up_for_the_age(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = {"engine": "vllm", "max_staleness": 1, "mismatch_correction": {"cap": 1.5}}
    metrics = run(tmp_path, tiny_model, monkeypatch, steps=3, rollout=rollout)
    assert metrics[1]["policy/sampler_gap"] < 1e-4
    # The second rollout was sampled before the first update.
    assert metrics[2]["policy/sampler_gap"] > 0.01
    assert metrics[2]["policy/importance_mean"] != 1
    assert all(value is not None for value in metrics[2].values())
    # A checkpoint keeps a rollout whose entropies are still unknown.
    assert run(tmp_path, tiny_model, monkeypatch, steps=3, rollout=rollout) == {3: metrics[3]}
