"""Rollouts made ahead: by which weights, what of them is told, and how they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from espo_contracts.events import Event, Metrics
from espo_contracts.job import JobSpec
from espo_core.errors import CheckpointError, ConfigError, VerifierError
from espo_core.pipeline import Pipeline, sampling_copy
from espo_core.policy import Policy
from espo_core.rollout.engine import Rollout, Sampling, Tokens
from espo_core.samplers.dynamic import Gathered
from espo_core.setup import Run, RunInputs, prepare_run
from espo_core.sources import InTurn
from espo_core.trainer import Trainer
from espo_core.verifiers import VERIFIERS, Row, Verdict, VerifierEntry
from espo_core.verifiers.base import RIGHT
from espo_core.verifiers.length import LengthConfig
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

STEPS = 5
FULL = {"name": "tiny"}
LORA = {"name": "tiny", "lora": {"rank": 4, "alpha": 8}}


def job(staleness: int, **parts: Any) -> JobSpec:
    rollout = {"max_staleness": staleness, **parts.pop("rollout", {})}
    schedule = {"steps": STEPS, **parts.pop("schedule", {})}
    return tiny_job(rollout=rollout, schedule=schedule, **parts)


def prepared(spec: JobSpec, tiny_model: Path, tmp_path: Path) -> Run:
    return prepare_run(RunInputs(spec=spec, work_dir=tmp_path, model=tiny_model))


@torch.no_grad()
def move(policy: Policy, *, seed: int) -> None:
    """Changes every weight that is trained."""
    generator = torch.Generator().manual_seed(seed)
    for one in policy.trainable().values():
        one.add_(torch.randn(one.shape, generator=generator), alpha=0.1)


def equal(first: Gathered, second: Gathered) -> bool:
    """Bit by bit, in prompts, tokens, log-probabilities and scores."""
    sampled, other = first.sampled, second.sampled
    parts = ("tokens", "logp", "entropy", "lengths", "is_truncated")
    return (
        list(first.places) == list(second.places)
        and sampled.scored == other.scored
        and all(torch.equal(getattr(sampled.rollout, one), getattr(other.rollout, one)) for one in parts)
    )


@pytest.mark.parametrize(
    ("staleness", "model", "is_ready"),
    [(1, LORA, False), (2, LORA, True), (2, FULL, False), (8, FULL, True)],
    ids=["1, adapters, while training", "2, adapters, before", "2, while training", "8, before"],
)
def test_the_weights_that_sample_are_those_after_a_fixed_step(
    staleness: int, model: dict[str, Any], is_ready: bool, tiny_model: Path, tmp_path: Path
) -> None:
    ahead = prepared(job(staleness, model=model), tiny_model, tmp_path)
    turns = [prepared(job(0, model=model), tiny_model, tmp_path) for _ in range(2)]
    by_lag: list[list[Gathered]] = [[], []]
    taken = []
    with ahead.rollouts.running(0):
        for step in range(1, STEPS + 1):
            for run, found, lag in zip(turns, by_lag, (staleness, 0), strict=True):
                if step - 1 - lag > 0:
                    move(run.policy, seed=step - 1 - lag)
                found.append(run.rollouts.take(step))
            taken.append(ahead.rollouts.take(step))
            assert ahead.rollouts.metrics()["rollout/staleness"] == min(staleness, step - 1)
            if is_ready:
                ahead.rollouts.state(step)
            move(ahead.policy, seed=step)
            ahead.rollouts.follow(step)
    expected, fresh = by_lag
    assert all(equal(one, other) for one, other in zip(taken, expected, strict=True))
    assert equal(taken[0], fresh[0])
    assert not any(equal(one, other) for one, other in zip(taken[1:], fresh[1:], strict=True))


def test_ratios_are_against_the_policy_that_sampled(tiny_model: Path, tmp_path: Path) -> None:
    """With one update a step the ratio is 1 unless the policy moved after it had sampled."""
    grpo = {"name": "grpo", "parameters": {}}
    spec = job(1, algorithm=grpo, optimiser={"mini_batches": 1}, schedule={"checkpoint_every": 0})
    stale = metrics_of(run_job(spec, tmp_path, tiny_model))
    turns = spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"max_staleness": 0})})
    fresh = metrics_of(run_job(turns, tmp_path, tiny_model))
    assert all(values["policy/ratio_max"] == pytest.approx(1, abs=1e-4) for values in fresh.values())
    assert stale[1]["policy/ratio_max"] == pytest.approx(1, abs=1e-4)
    assert all(_number(stale[step]["policy/ratio_max"]) > 1.01 for step in range(2, STEPS + 1))


def test_what_a_run_tells_of_its_pipeline(tiny_model: Path, tmp_path: Path) -> None:
    events = run_job(job(2), tmp_path, tiny_model)
    told = [event.values for event in events if isinstance(event, Metrics)]
    assert [values["rollout/staleness"] for values in told] == [0, 1, 2, 2, 2]
    assert all(_number(values["time/rollout_wait_seconds"]) >= 0 for values in told)
    assert all(_number(values["time/rollout_seconds"]) > 0 for values in told)
    plain = metrics_of(run_job(job(0, schedule={"steps": 1}), tmp_path, tiny_model))
    assert "rollout/staleness" not in plain[1]


def test_learning_goes_on_with_stale_rollouts(tiny_model: Path, tmp_path: Path) -> None:
    spec = job(2, schedule={"steps": 14, "checkpoint_every": 0})
    rewards = [
        _number(values["reward/mean"]) for values in metrics_of(run_job(spec, tmp_path, tiny_model)).values()
    ]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2


def test_an_error_ends_the_run_at_the_step_that_needs_the_rollout(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def failing(completion: str, row: Row) -> Verdict:
        judged.append(threading.current_thread().name)
        if len(judged) > 2 * 16:
            raise RuntimeError("no judge today")
        return RIGHT

    entry = VerifierEntry(name="length", summary="", config=LengthConfig, build=lambda _: failing)
    monkeypatch.setitem(VERIFIERS, "length", entry)
    events: list[Event] = []
    spec = job(1, data={"held_out": {"max_prompts": 0}})
    with pytest.raises(VerifierError, match="no judge today"):
        Trainer(RunInputs(spec=spec, work_dir=tmp_path, model=tiny_model), events.append).run()
    assert [event.step for event in events if isinstance(event, Metrics)] == [1, 2]
    assert all(name.startswith("rollouts") for name in judged)
    assert not _threads()


class Endless:
    """An engine that reads its model until it is stopped, or for a minute."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.began = threading.Event()
        self.was_left_alone = False

    def generate(
        self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int, first: int = 0
    ) -> Rollout:
        ids, deadline = torch.tensor([prompts[0]]), time.monotonic() + 60
        while time.monotonic() < deadline:
            self.policy.model(input_ids=ids)
            self.began.set()
        self.was_left_alone = True
        raise AssertionError


def test_an_interrupted_run_does_not_wait_for_its_rollouts(tiny_model: Path, tmp_path: Path) -> None:
    run = prepared(job(1), tiny_model, tmp_path)
    assert isinstance(run.rollouts, Pipeline)
    engine = Endless(run.rollouts.gatherer.policy)
    gatherer = replace(run.rollouts.gatherer, engine=engine)
    pipeline = Pipeline(gatherer, trained=run.policy, staleness=1, steps=STEPS)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(pipeline, engine)
    assert not engine.was_left_alone
    assert not _threads()


def test_a_copy_that_samples_shares_what_is_not_trained(tiny_model: Path, tmp_path: Path) -> None:
    run = prepared(job(0, model=LORA), tiny_model, tmp_path)
    copied = sampling_copy(run.policy)
    own = dict(run.policy.model.named_parameters())
    for name, one in copied.model.named_parameters():
        assert not one.requires_grad
        assert (one.data_ptr() == own[name].data_ptr()) is not own[name].requires_grad
        assert torch.equal(one, own[name])
    assert copied.adapters is not None
    assert copied.adapters.model is copied.model
    assert len(run.policy.trainable()) > 0
    move(run.policy, seed=1)
    assert not torch.equal(_logits(copied), _logits(run.policy))


@pytest.mark.parametrize("staleness", [0, 1])
def test_rollouts_made_too_far_ahead_are_refused(staleness: int, tiny_model: Path, tmp_path: Path) -> None:
    run_job(job(2), tmp_path, tiny_model)
    with pytest.raises(CheckpointError, match=rf"steps \[3, 4\].*max_staleness {staleness}"):
        run_job(job(staleness), tmp_path / "b", tiny_model, resume=tmp_path / "checkpoint-2")


def test_a_run_may_go_on_with_more_staleness(tiny_model: Path, tmp_path: Path) -> None:
    run_job(job(0), tmp_path, tiny_model)
    rest = metrics_of(run_job(job(2), tmp_path / "b", tiny_model, resume=tmp_path / "checkpoint-2"))
    assert [values["rollout/staleness"] for values in rest.values()] == [0, 1, 2]
    assert isinstance(prepared(job(0), tiny_model, tmp_path).rollouts, InTurn)


def _interrupted(pipeline: Pipeline, engine: Endless) -> None:
    with pipeline.running(0):
        assert engine.began.wait(30)
        raise KeyboardInterrupt


def test_a_model_that_is_cut_takes_turns(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_staleness needs resources\.sharding replicated"):
        prepared(job(1, resources={"devices": 2, "sharding": "sharded"}), tiny_model, tmp_path)


def _threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("rollouts")]


@torch.no_grad()
def _logits(policy: Policy) -> Tensor:
    logits: Tensor = policy.model(input_ids=torch.tensor([[3, 4, 5]])).logits
    return logits


def _number(value: float | None) -> float:
    assert value is not None
    return value
