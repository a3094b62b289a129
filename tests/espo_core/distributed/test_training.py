"""Two gloo processes learn what one learns."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from espo_contracts.events import Checkpoint, Event, Started
from espo_contracts.job import JobSpec
from espo_core.checkpoint import TENSORS
from tests.espo_core.distributed.ranks import TRIED, run_on_two
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

pytestmark = pytest.mark.slow

# Passes of 64 tokens: the ranks differ in how many they make.
PARTS: dict[str, Any] = {
    "data": {"held_out": {"max_prompts": 5}},
    "optimiser": {"micro_batch_tokens": 64},
    "schedule": {"steps": 2, "evaluate_every": 2},
}
SHARDING = ("replicated", "sharded")
LORA = {
    "model": {"name": "tiny", "lora": {"rank": 4, "alpha": 8}},
    "algorithm": {"name": "grpo", "parameters": {"kl_coefficient": 0.1}},
}
PENALISED = {"algorithm": {"name": "grpo", "parameters": {"kl_coefficient": 0.1}}}
# One prompt for two ranks, and a trust region that is searched on the whole mini-batch.
BAPO = {
    "algorithm": {"name": "bapo", "parameters": {"positive_share": 0.9}},
    "rollout": {"prompts_per_step": 1},
    "optimiser": {"mini_batches": 1},
}
AHEAD = {"rollout": {"max_staleness": 1}}
JOBS: dict[str, Mapping[str, Any]] = {
    "full": {},
    "lora": LORA,
    "penalised": PENALISED,
    "bapo": BAPO,
    "ahead": AHEAD,
}
# What samples ahead is a whole model.
PAIRS = [("ahead", "replicated"), *itertools.product(("full", "lora", "penalised", "bapo"), SHARDING)]


def job(kind: str, *, devices: int = 1, sharding: str = "replicated") -> JobSpec:
    resources = {"devices": devices, "sharding": sharding}
    return tiny_job(**{**PARTS, **JOBS[kind]}, resources=resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Finished runs; each has a folder of its name."""

    folder: Path
    events: Mapping[str, list[Event]]

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / name / "checkpoint-2" / "model.safetensors")

    def state(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / name / "checkpoint-2" / TENSORS)


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("ranks")
    alone = {kind: run_job(job(kind), folder / kind, tiny_model) for kind in JOBS}
    wanted = {f"{kind}-{sharding}": job(kind, devices=2, sharding=sharding) for kind, sharding in PAIRS}
    together = [
        {"spec": spec.model_dump(mode="json"), "work_dir": folder / name, "model": tiny_model}
        for name, spec in wanted.items()
    ]
    resumed = {**together[2], "work_dir": folder / "resumed", "resume": folder / "full" / "checkpoint-1"}
    stopped = {**together[2], "work_dir": folder / "stopped", "stops_after_events": 2}
    return Runs(folder=folder, events=alone | run_on_two([*together, resumed, stopped], folder))


@pytest.mark.parametrize(("kind", "sharding"), PAIRS)
def test_two_learn_what_one_learns(kind: str, sharding: str, runs: Runs) -> None:
    name = f"{kind}-{sharding}"
    expected, told = metrics_of(runs.events[kind]), metrics_of(runs.events[name])
    assert told.keys() == expected.keys() == {0, 1, 2}
    for step, values in expected.items():
        assert told[step] == pytest.approx(values, rel=1e-3, abs=1e-5)
    assert_same_run(runs, name, kind)
    assert [event.type for event in runs.events[name]] == [event.type for event in runs.events[kind]]


def assert_same_run(runs: Runs, name: str, expected: str) -> None:
    """The same gradients, and the weights that come of them.

    AdamW moves a weight by up to 1e-2 a step however small its gradient, so where that is mere rounding, the
    weight may differ.
    """
    state, expected_state = runs.state(name), runs.state(expected)
    assert state.keys() == expected_state.keys()
    for one, tensor in state.items():
        if not one.startswith("adapter/"):
            torch.testing.assert_close(tensor, expected_state[one], rtol=1e-3, atol=1e-5)
    weights, expected_weights = runs.weights(name), runs.weights(expected)
    assert weights.keys() == expected_weights.keys()
    gaps = torch.cat([(weights[one] - expected_weights[one]).abs().flatten() for one in weights])
    assert gaps.max() < 5e-3
    assert (gaps > 1e-5).float().mean() < 0.01


def test_one_goes_on_where_two_stopped(runs: Runs, tiny_model: Path) -> None:
    checkpoint = runs.folder / "full-sharded" / "checkpoint-1"
    rest = run_job(job("full"), runs.folder / "rest", tiny_model, resume=checkpoint)
    assert metrics_of(rest)[2] == pytest.approx(metrics_of(runs.events["full"])[2], rel=1e-3, abs=1e-5)
    assert_same_run(runs, "rest", "full")


def test_two_go_on_where_one_stopped(runs: Runs) -> None:
    started, *_ = runs.events["resumed"]
    assert isinstance(started, Started)
    assert (started.resumed_from, started.device) == (1, "2 x cpu")
    assert_same_run(runs, "resumed", "full")


def test_two_stop_together_when_the_first_is_told(runs: Runs) -> None:
    told = [event.step for event in runs.events["stopped"] if isinstance(event, Checkpoint)]
    assert told == [1]


def test_what_ranks_tell_each_other(runs: Runs) -> None:
    told = [json.loads((runs.folder / TRIED.format(rank=rank)).read_text()) for rank in (0, 1)]
    assert sum(one["cut"][0] for one in told) == told[0]["cut"][1]
    assert max(one["cut"][0] for one in told) < 0.6 * told[0]["cut"][1]
    for one in told:
        assert one["apart"] == [0, 1, 1.0]
        assert one["nothing"] == []
        assert one["numbers"] == [0, 1, 2]
        assert one["truths"] == [True] * 3
        assert one["rows"] == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        assert one["documents"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "ä"}]
        assert one["sums"] == [[3.0, 3.0], [1]]
        assert one["total"] == 2.0
