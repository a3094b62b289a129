from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.catalogue.models import ModelFacts, facts_of
from api.jobs.memory import memory, peak, sizes
from api.jobs.schemas import Memory
from api.jobs.workload import DataFacts, workload
from tests.api.jobs.needs import TINY_BASE, job

# 1.2e9 parameters: too many to copy for sampling.
LARGE = ModelFacts(
    name="large",
    parameters=1_200_000_000,
    bytes=0,
    architecture=None,
    vocabulary=50_000,
    layers=24,
    hidden=2048,
    intermediate=8192,
    query_width=2048,
    key_width=512,
    is_tied=True,
    adapter_widths={"q_proj": 24 * 4096, "up_proj": 24 * 10_240},
    created_at=0.0,
)
P = LARGE.parameters


def needs(**parts: dict[str, Any]) -> tuple[Memory, int]:
    """Parts and peak of a job on the large model."""
    spec = job(**parts)
    one = sizes(spec, LARGE, workload(spec, LARGE, DataFacts(characters=300, rows=100)))
    assert one is not None
    parts_of = memory(one)
    return parts_of, peak(one, parts_of)


def test_what_is_kept_of_each_parameter() -> None:
    parts, _ = needs()
    assert (parts.weights, parts.gradients, parts.optimiser) == (4 * P, 4 * P, 8 * P)
    half, _ = needs(model={"dtype": "bfloat16"})
    # Two moments, a float32 copy and its gradient.
    assert (half.weights, half.gradients, half.optimiser) == (2 * P, 2 * P, 16 * P)


def test_adapters_alone_are_trained() -> None:
    parts, _ = needs(model={"lora": {"rank": 8}})
    trained = 8 * 24 * (4096 + 10_240)
    assert (parts.gradients, parts.optimiser) == (4 * trained, 8 * trained)
    assert parts.weights == parts.checkpoint == 4 * P + 4 * trained
    some, _ = needs(model={"lora": {"rank": 8, "target_modules": ["q_proj"], "save_as": "adapters"}})
    assert (some.gradients, some.checkpoint) == (4 * 8 * 24 * 4096, 0)


def test_a_reference_is_a_second_copy_unless_adapters_can_be_switched_off() -> None:
    grpo = {"name": "grpo", "parameters": {"kl_coefficient": 0.01}}
    assert needs(algorithm=grpo)[0].reference == 4 * P
    assert needs(algorithm=grpo, model={"lora": {}})[0].reference == 0
    assert needs(algorithm={"name": "grpo", "parameters": {"kl_coefficient": 0.0}})[0].reference == 0


def test_devices_cut_what_is_sharded_and_sample_with_whole_weights() -> None:
    gpu = {"device": "gpu", "devices": 4}
    cut, whole = needs(resources={**gpu, "sharding": "sharded"})[0], needs(resources=gpu)[0]
    assert (cut.weights, cut.optimiser, cut.sampler_weights) == (P, 2 * P, 4 * P)
    assert (whole.weights, whole.optimiser, whole.sampler_weights) == (4 * P, 8 * P, 0)


def test_rollouts_that_are_made_ahead_have_their_own_weights() -> None:
    assert needs(rollout={"max_staleness": 1})[0].sampler_weights == 3 * 4 * P


TOKEN = 2 * 24 * 512 * 4
"""Bytes of the keys and values of a token."""


def keys_and_values(*, prompt: int, response: int, rows: int) -> int:
    """Of a rollout with groups of two."""
    rollout = {"prompts_per_step": rows // 2, "group_size": 2, "max_new_tokens": response}
    data = {"max_prompt_tokens": prompt, "held_out": {"max_prompts": 0}}
    return needs(rollout=rollout, data=data, optimiser={"mini_batches": 1})[0].kv_cache


@pytest.mark.parametrize(
    ("prompt", "response", "columns"),
    [
        (40, 20, 40 + 20 + 0.8 * 60),
        (40, 130, 168 + 252),  # 104 columns, 168 and 252: the old ones beside the new
        (100, 20, 20 + 0.8 * 20 + 100 / 2),  # a prompt is kept once for both responses
    ],
)
def test_keys_and_values_by_hand(prompt: int, response: int, columns: float) -> None:
    assert keys_and_values(prompt=prompt, response=response, rows=8) == 8 * columns * TOKEN


def test_keys_and_values_within_the_samplers_limit() -> None:
    assert keys_and_values(prompt=40, response=20, rows=8000) <= 1.8 * (1 << 30)


def test_evaluations_decode_as_many_as_they_have() -> None:
    rollout = {"prompts_per_step": 4, "group_size": 2, "max_new_tokens": 20}
    short = {"rollout": rollout, "data": {"max_prompt_tokens": 40, "held_out": {"max_prompts": 10}}}
    cells = 40 + 20 + 0.8 * 60
    assert needs(**short)[0].kv_cache == 10 * cells * TOKEN
    assert needs(**short, schedule={"evaluate_samples": 2})[0].kv_cache == 20 * cells * TOKEN


def test_vllm_keeps_to_its_share_of_a_gpu() -> None:
    parts, _ = needs(resources={"device": "gpu"}, rollout={"engine": "vllm"})
    assert (parts.kv_cache, parts.sampler_logits) == (32_000_000_000, 0)


def test_activations_grow_with_a_pass_and_not_with_the_batch() -> None:
    short = {"micro_batch_tokens": 4300}
    one = needs(rollout={"prompts_per_step": 64}, optimiser=short)[0].activations
    assert needs(rollout={"prompts_per_step": 128}, optimiser=short)[0].activations == one
    more = needs(rollout={"prompts_per_step": 128}, optimiser={"micro_batch_tokens": 8600})[0].activations
    assert more == pytest.approx(2 * one, rel=0.02)
    recomputed = {**short, "gradient_checkpointing": True}
    assert needs(optimiser=recomputed)[0].activations < one / 5


def test_a_small_model_is_mostly_its_process() -> None:
    facts, spec = facts_of(TINY_BASE), job()
    assert facts is not None
    one = sizes(spec, facts, workload(spec, facts, DataFacts(characters=12, rows=512)))
    assert one is not None
    parts = memory(one)
    assert parts.process > peak(one, parts) / 3


def test_on_a_gpu_sampling_and_updating_take_turns() -> None:
    parts, most = needs(resources={"device": "gpu"})
    assert parts.process == 0
    lasting = parts.weights + parts.gradients + parts.optimiser
    sampling, update = parts.kv_cache + parts.sampler_logits, parts.activations + parts.logits
    assert most == lasting + max(sampling, update)
    both, ahead = needs(resources={"device": "gpu"}, rollout={"max_staleness": 1})
    assert ahead == lasting + both.sampler_weights + both.kv_cache + both.sampler_logits + update


@pytest.mark.parametrize("missing", ["layers", "hidden"])
def test_without_the_models_shape_nothing_is_told(missing: str) -> None:
    facts = replace(LARGE, **{missing: None})
    assert sizes(job(), facts, workload(job(), facts, DataFacts())) is None
