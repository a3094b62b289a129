"""What a job will need, from its model's size: rules of thumb, good to a factor of two or three."""

from __future__ import annotations

from api.catalogue.models import ModelFacts
from api.jobs.schemas import Estimate
from espo_contracts.job import JobSpec

# Useful floating-point operations a second of one CPU thread and of one GPU.
_CPU_THREAD_FLOPS = 2e10
_GPU_FLOPS = 2e14
# Bytes of activations per token, layer and hidden unit, of a transformer without checkpointing.
_ACTIVATION_BYTES = 34


def estimate(spec: JobSpec, facts: ModelFacts | None) -> Estimate:
    """Needs of a job; without facts of its model only the tokens."""
    tokens = _rollout_tokens(spec)
    if facts is None or not facts.parameters:
        return Estimate(rollout_tokens=tokens, parameters=None, memory_bytes=None, seconds=None)
    return Estimate(
        rollout_tokens=tokens,
        parameters=facts.parameters,
        memory_bytes=_memory_bytes(spec, facts),
        seconds=round(_seconds(spec, facts, tokens), 3),
    )


def _rollout_tokens(spec: JobSpec) -> int:
    rollout = spec.rollout
    rounds = rollout.max_sampling_rounds if rollout.dynamic_sampling else 1
    per_round = rollout.prompts_per_step * rollout.group_size * rollout.max_new_tokens
    return spec.schedule.steps * rounds * per_round


def _memory_bytes(spec: JobSpec, facts: ModelFacts) -> int:
    """Weights, and for what is trained: gradient and AdamW's two moments; then the larger of the activations
    of a micro-batch and the keys and values of a rollout."""
    size = 4 if spec.model.dtype == "float32" else 2
    trained = facts.parameters if spec.model.lora is None else facts.parameters // 50
    width = (facts.layers or 0) * (facts.hidden or 0)
    length = spec.data.max_prompt_tokens + spec.rollout.max_new_tokens
    cache = 2 * size * width * spec.rollout.prompts_per_step * spec.rollout.group_size * length
    activations = _ACTIVATION_BYTES * width * spec.optimiser.micro_batch_tokens // 2
    return size * facts.parameters + 3 * size * trained + max(cache, activations)


def _seconds(spec: JobSpec, facts: ModelFacts, tokens: int) -> float:
    """2 operations per parameter and token to sample, 6 to train."""
    operations = facts.parameters * tokens * (2 + 6 * spec.optimiser.epochs)
    is_gpu = spec.resources.device == "gpu"
    return operations / (_GPU_FLOPS if is_gpu else _CPU_THREAD_FLOPS * spec.resources.cpu_threads)
