"""Dynamic sampling in runs whose reward is 1 for an empty answer and 0 for others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from espo_contracts.events import Event, Sample
from espo_contracts.job import JobSpec
from espo_contracts.spec import RewardPart
from espo_core.algorithms import ALGORITHMS
from tests.espo_core.tiny import metrics_of, run_job, tiny_job


def job(*, zero_from: int = 1, **parts: dict[str, Any]) -> JobSpec:
    """A few of the untrained model's answers are empty, so few prompts have contrast."""
    rollout = {"dynamic_sampling": True, "prompts_per_step": 6, **parts.pop("rollout", {})}
    schedule = {"samples_per_step": 64, "steps": 3, **parts.pop("schedule", {})}
    optimiser = {"learning_rate": 1e-3, "mini_batches": 2, **parts.pop("optimiser", {})}
    spec = tiny_job(rollout=rollout, schedule=schedule, optimiser=optimiser, **parts)
    empty = RewardPart(verifier="length", parameters={"full_until": zero_from - 1, "zero_from": zero_from})
    return spec.model_copy(update={"reward": [empty]})


def rewards_by_group(events: list[Event], step: int) -> list[list[float]]:
    samples = [event for event in events if isinstance(event, Sample) and event.step == step]
    return [[one.reward for one in group] for _, group in groupby(samples, key=lambda one: one.group)]


def test_only_prompts_with_both_outcomes_are_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    events = run_job(job(rollout={"max_sampling_rounds": 64}), tmp_path, tiny_model)
    for step, values in metrics_of(events).items():
        groups = rewards_by_group(events, step)
        assert len(groups) == values["rollout/prompts"] == 6
        assert all(min(group) == 0 < max(group) == 1 for group in groups)
        assert _number(values["rollout/prompts_sampled"]) > 6
        assert _number(values["rollout/rounds"]) > 1


def test_the_figures_count_what_was_passed_over(tiny_model: Path, tmp_path: Path) -> None:
    """The level of the rewards is that of all responses, not of those chosen for their contrast."""
    events = run_job(job(rollout={"max_sampling_rounds": 2}, schedule={"steps": 1}), tmp_path, tiny_model)
    (values,) = metrics_of(events).values()
    kept, sampled = _number(values["rollout/prompts"]), _number(values["rollout/prompts_sampled"])
    assert 0 < kept < 6 < sampled < 12
    assert values["rollout/rounds"] == 2
    assert values["reward/zero_variance_fraction"] == pytest.approx(1 - kept / sampled)
    right = sum(sum(group) for group in rewards_by_group(events, 1))
    assert values["reward/mean"] == pytest.approx(right / (4 * sampled))
    assert _number(values["rollout/tokens"]) < _number(values["rollout/tokens_sampled"])
    assert _number(values["rollout/length_mean"]) * 4 * sampled == pytest.approx(
        values["rollout/tokens_sampled"]
    )


def test_the_first_round_is_that_of_a_run_without_it(tiny_model: Path, tmp_path: Path) -> None:
    plain = run_job(job(rollout={"dynamic_sampling": False}, schedule={"steps": 1}), tmp_path, tiny_model)
    one_round = job(rollout={"max_sampling_rounds": 1}, schedule={"steps": 1})
    dynamic = run_job(one_round, tmp_path, tiny_model)
    mixed = [group for group in rewards_by_group(plain, 1) if min(group) < max(group)]
    assert rewards_by_group(dynamic, 1) == mixed
    assert metrics_of(plain)[1]["rollout/rounds"] == metrics_of(dynamic)[1]["rollout/rounds"] == 1
    assert metrics_of(plain)[1]["rollout/prompts"] == 6


def test_without_any_contrast_nothing_is_learned_and_the_run_goes_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    events = run_job(job(zero_from=1000, rollout={"max_sampling_rounds": 3}), tmp_path, tiny_model)
    for values in metrics_of(events).values():
        assert (values["rollout/rounds"], values["rollout/prompts_sampled"]) == (3, 18)
        assert (values["rollout/prompts"], values["reward/zero_variance_fraction"]) == (6, 1)
    before, after = (load_file(one / "model.safetensors") for one in (tiny_model, tmp_path / "checkpoint-3"))
    assert all(torch.equal(one, before[name]) for name, one in after.items())


def test_there_are_no_more_updates_than_prompts(tiny_model: Path, tmp_path: Path) -> None:
    spec = job(rollout={"max_sampling_rounds": 2}, schedule={"steps": 1}, optimiser={"mini_batches": 6})
    (values,) = metrics_of(run_job(spec, tmp_path, tiny_model)).values()
    state = load_file(tmp_path / "checkpoint-1" / "training_state.safetensors")
    updates = {one.item() for name, one in state.items() if name.startswith("optimiser/step/")}
    assert 0 < _number(values["rollout/prompts"]) < 6
    assert updates == {values["rollout/prompts"]}


def test_a_job_that_does_not_say_follows_its_algorithm(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = job(rollout={"dynamic_sampling": None}, schedule={"steps": 1})
    assert metrics_of(run_job(spec, tmp_path, tiny_model))[1]["rollout/rounds"] == 1
    monkeypatch.setitem(ALGORITHMS, "espo", replace(ALGORITHMS["espo"], dynamic_sampling=True))
    assert _number(metrics_of(run_job(spec, tmp_path, tiny_model))[1]["rollout/rounds"]) > 1


def test_a_run_resumed_between_rounds_of_sampling_is_bit_identical(tiny_model: Path, tmp_path: Path) -> None:
    spec = job(schedule={"steps": 5})
    whole = run_job(spec, tmp_path / "whole", tiny_model)
    assert len({values["rollout/prompts_sampled"] for values in metrics_of(whole).values()}) > 1
    for step in range(1, 5):
        rest = run_job(spec, tmp_path / "rest", tiny_model, resume=tmp_path / "whole" / f"checkpoint-{step}")
        assert metrics_of(rest) == {at: values for at, values in metrics_of(whole).items() if at > step}
        for path in (tmp_path / "whole" / "checkpoint-5").iterdir():
            assert (tmp_path / "rest" / "checkpoint-5" / path.name).read_bytes() == path.read_bytes()
        shutil.rmtree(tmp_path / "rest")


def _number(value: float | None) -> float:
    assert value is not None
    return value
