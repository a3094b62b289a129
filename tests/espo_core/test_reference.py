"""The KL to the base model: its two forms, and how it grows over a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from espo_contracts.job import JobSpec
from espo_core.experience import Experience, make_experience
from espo_core.prompts import Prompt
from espo_core.report import Turn
from espo_core.rewards import Scored
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.setup import Run, RunInputs, prepare_run
from espo_core.verifiers import Score
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

LORA = {"name": "tiny", "lora": {"rank": 4, "alpha": 8}}
PROMPTS = [Prompt(text="", tokens=tokens, row={}) for tokens in [(3, 4), (5,), (6, 7, 8)]]


def job(model: dict[str, Any], **parts: dict[str, Any]) -> JobSpec:
    return tiny_job(model=model, algorithm={"name": "grpo", "parameters": {"kl_coefficient": 0.1}}, **parts)


def prepared(model: dict[str, Any], tiny_model: Path, tmp_path: Path) -> Run:
    return prepare_run(RunInputs(spec=job(model), work_dir=tmp_path, model=tiny_model))


def experience(run: Run) -> Experience:
    """Responses of the base model: the same for every run that has not been trained."""
    rollout = NativeEngine(policy=run.policy).generate(
        [prompt.tokens for prompt in PROMPTS], Sampling(responses=2, max_new_tokens=9), seed=0
    )
    scored = Scored(completions=[""] * 6, scores=[Score(reward=0.0, verified=True, parts={})] * 6)
    turn = Turn(step=1, prompts=PROMPTS, rollout=rollout, scored=scored, advantage=torch.zeros(6))
    return make_experience(run.policy, turn)


@torch.no_grad()
def moved(run: Run) -> None:
    """Changes every weight that is trained."""
    torch.manual_seed(0)
    for one in run.policy.trainable().values():
        one.add_(torch.randn_like(one), alpha=0.1)


def test_a_frozen_copy_and_switched_off_adapters_are_the_same_reference(
    tiny_model: Path, tmp_path: Path
) -> None:
    found = []
    for model in ({"name": "tiny"}, LORA):
        run = prepared(model, tiny_model, tmp_path)
        seen = experience(run)
        moved(run)
        found.append(run.learner._reference_logp(seen))
        now = run.learner.statistics(seen)[0]
        assert (now - seen.batch.logp_old).abs().max() > 0.01
        torch.testing.assert_close(found[-1], seen.batch.logp_old, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=0)


def test_full_training_holds_a_copy_and_adapters_none(tiny_model: Path, tmp_path: Path) -> None:
    full, lora = (prepared(model, tiny_model, tmp_path) for model in ({"name": "tiny"}, LORA))
    assert full.learner.reference is not None
    assert not any(one.requires_grad for one in full.learner.reference.model.parameters())
    assert lora.learner.reference is None


@pytest.mark.parametrize("model", [{"name": "tiny"}, LORA], ids=["copy", "adapters"])
def test_the_kl_starts_at_0_and_grows(model: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    spec = job(model, optimiser={"mini_batches": 1}, schedule={"steps": 5})
    told = metrics_of(run_job(spec, tmp_path, tiny_model))
    found = [value for one in told.values() if (value := one["policy/kl_reference"]) is not None]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[1] > 1e-5
    assert found[-1] > found[1]
