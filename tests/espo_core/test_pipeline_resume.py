"""Resumed runs whose rollouts are made ahead, against runs that were not interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from espo_contracts.job import JobSpec
from espo_core.errors import CheckpointError
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "full": {},
    "lora with dropout": {"model": {"name": "tiny", "lora": {"rank": 4, "alpha": 8, "dropout": 0.25}}},
    "several rounds of a curriculum": {
        "rollout": {"dynamic_sampling": True, "curriculum": {}, "max_sampling_rounds": 3},
        "optimiser": {"learning_rate": 1e-3},
    },
}


def job(staleness: int, **parts: dict[str, Any]) -> JobSpec:
    rollout = {"max_staleness": staleness, **parts.pop("rollout", {})}
    return tiny_job(rollout=rollout, schedule={"steps": 6, "evaluate_every": 4}, **parts)


@pytest.mark.parametrize(
    ("staleness", "name"),
    [(1, "full"), (2, "full"), (2, "lora with dropout"), (2, "several rounds of a curriculum")],
)
def test_a_resumed_run_is_bit_identical(staleness: int, name: str, tiny_model: Path, tmp_path: Path) -> None:
    spec = job(staleness, **PARTS[name])
    whole = run_job(spec, tmp_path / "whole", tiny_model)
    for step in (3, 5):
        resume = tmp_path / "whole" / f"checkpoint-{step}"
        rest = run_job(spec, tmp_path / f"from-{step}", tiny_model, resume=resume)
        assert metrics_of(rest) == {at: one for at, one in metrics_of(whole).items() if at > step}
        for last in range(step + 1, 7):
            names = (tmp_path / one / f"checkpoint-{last}" for one in ("whole", f"from-{step}"))
            first, second = ({path.name: path.read_bytes() for path in one.iterdir()} for one in names)
            assert first == second


@pytest.mark.parametrize(
    ("file", "reason"),
    [("json", "for step 3 is not one of this run"), ("safetensors", "lacks 'pending/3/logp'")],
)
def test_a_damaged_rollout_is_refused(file: str, reason: str, tiny_model: Path, tmp_path: Path) -> None:
    run_job(job(1), tmp_path, tiny_model)
    path = tmp_path / "checkpoint-2" / f"training_state.{file}"
    if file == "json":
        state = json.loads(path.read_text())
        del state["pending"][0]["scores"][0]
        path.write_text(json.dumps(state))
    else:
        save_file({name: one for name, one in load_file(path).items() if "logp" not in name}, path)
    with pytest.raises(CheckpointError, match=reason):
        run_job(job(1), tmp_path / "b", tiny_model, resume=tmp_path / "checkpoint-2")
