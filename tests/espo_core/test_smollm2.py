"""A real pre-trained language model, end to end: LoRA, chat template, JSONL data, math verifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from espo_contracts.events import Checkpoint, Sample
from espo_contracts.validation import parse_job_spec
from espo_core.jobfile import read_job
from tests.espo_core.tiny import metrics_of, run_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_steps_of_the_example(smollm2: Path, tmp_path: Path) -> None:
    spec, file = read_job(ROOT / "examples" / "smollm2.yaml")
    document: dict[str, Any] = spec.model_dump(mode="json")
    document["schedule"] |= {"steps": 2, "evaluate_every": 0, "checkpoint_every": 0}
    document["rollout"] |= {"group_size": 4, "prompts_per_step": 2, "max_new_tokens": 8}
    document["data"]["held_out"]["max_prompts"] = 4
    document["resources"]["cpu_threads"] = 1
    events = run_job(parse_job_spec(document), tmp_path, smollm2, data_file=file)

    metrics = metrics_of(events)
    assert set(metrics) == {1, 2}
    for values in metrics.values():
        gap = values["policy/sampler_gap"]
        assert gap is not None
        assert gap < 1e-4  # cached decoding agrees with the forward pass of the update
    assert metrics[2]["held_out/prompts"] == 4
    samples = [event for event in events if isinstance(event, Sample)]
    assert all("<|im_start|>user" in one.prompt for one in samples)
    assert {frozenset(one.reward_parts) for one in samples} == {frozenset({"math", "length"})}
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [2]
    assert _changed(smollm2, tmp_path / "checkpoint-2") == {"q", "k", "v", "o", "gate", "up", "down"}


def _changed(before: Path, after: Path) -> set[str]:
    """Kinds of layers whose weights differ between two model folders."""
    first, second = (AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (before, after))
    assert first.keys() == second.keys()
    return {
        name.split(".")[-2].removesuffix("_proj")
        for name in first
        if not torch.equal(first[name], second[name])
    }
