"""The time that a run takes, from the floating-point operations of its tokens and stated rates.

Legend: F operations of a token's forward pass, two a parameter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from api.jobs.memory import Sizes, needs_reference
from api.jobs.schemas import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a device does in a second."""

    update_flops: float
    """In the large products of an update and of encoding prompts."""
    decode_flops: float
    """In those of a token a row."""
    layer_seconds: float
    """The start of a layer's kernels, which a token-step costs however few its rows."""
    memory_bytes: float
    """Read and written."""


# Of one thread of an x86 core with AVX2 in float32, and of one H100 in bfloat16.
_CPU_THREAD = Rates(update_flops=6.5e10, decode_flops=5e10, layer_seconds=7e-4, memory_bytes=8e9)
_GPU = Rates(update_flops=3.5e14, decode_flops=2e14, layer_seconds=6e-5, memory_bytes=2e12)
# A forward pass of AdamW reads and writes weight, gradient and moments, 4 bytes each.
_OPTIMISER_BYTES = 28


def duration(one: Sizes) -> Duration:
    """The parts of a run's time; every response is as long, and every step has as many rounds, as allowed."""
    schedule, load = one.spec.schedule, one.load
    rollout = load.rounds * _sampling(one, prompts=load.prompts, responses=load.group)
    evaluation = _sampling(one, prompts=load.held_out, responses=1)
    if schedule.evaluate_samples:
        evaluation += _sampling(one, prompts=load.held_out, responses=load.samples)
    return Duration(
        sampling=schedule.steps * rollout,
        update=schedule.steps * _update(one),
        evaluation=_evaluations(schedule.steps, schedule.evaluate_every) * evaluation,
    )


def _rates(one: Sizes) -> Rates:
    if not one.is_cpu:
        return _GPU
    threads = one.spec.resources.cpu_threads
    return Rates(
        update_flops=threads * _CPU_THREAD.update_flops,
        decode_flops=threads * _CPU_THREAD.decode_flops,
        layer_seconds=_CPU_THREAD.layer_seconds,
        memory_bytes=_CPU_THREAD.memory_bytes,
    )


def _forward(one: Sizes) -> float:
    """F; an embedding that is not the output layer too is looked up."""
    table = 0 if one.facts.is_tied else (one.facts.vocabulary or 0) * one.hidden
    return 2.0 * (one.facts.parameters - table)


def _sampling(one: Sizes, *, prompts: int, responses: int) -> float:
    """Encoding the prompts, then a token of every row at a time."""
    rates, load, rows = _rates(one), one.load, prompts * responses
    encoding = _forward(one) * prompts * load.prompt / rates.update_flops
    at_once = _forward(one) * rows / rates.decode_flops
    step = max(at_once, one.weights / rates.memory_bytes) + one.layers * rates.layer_seconds
    return encoding + load.response * step if rows else 0.0


def _update(one: Sizes) -> float:
    """Forward and backward pass (of frozen weights only half of the latter), and the optimiser."""
    spec, rates, load = one.spec, _rates(one), one.load
    passes = 3.0 if spec.model.lora is None else 2.0
    passes += 1 if spec.optimiser.gradient_checkpointing else 0
    reference = 1.0 if needs_reference(spec) else 0.0
    computed = _forward(one) * load.trained * (spec.optimiser.epochs * passes + reference)
    updates = spec.optimiser.epochs * spec.optimiser.mini_batches
    optimiser = updates * _OPTIMISER_BYTES * one.trainable / one.shards / rates.memory_bytes
    return computed / rates.update_flops + optimiser + 3 * updates * one.layers * rates.layer_seconds


def _evaluations(steps: int, every: int) -> int:
    """Before the first step, after every so many, and after the last; or after the last only."""
    return math.ceil(steps / every) + 1 if every else 1
