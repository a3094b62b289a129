"""The memory that a run takes at its peak, part by part.

Formulas follow the trainer's own buffers; what has a constant was measured (`python -m bench.memory` measures
it again). On a CPU it is what the process has resident, on a GPU what is allocated there.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.catalogue.models import ModelFacts
from api.jobs.schemas import Memory
from api.jobs.workload import Workload
from espo_contracts.job import JobSpec

# Python with torch, transformers and the trainer, after a first step; and a tokenizer's tables.
_PROCESS_BYTES = 410_000_000
_VOCABULARY_ENTRY_BYTES = 600
# What the sampler's rows may take at their full length: on a CPU this, of a GPU half of what is free.
_CPU_CACHE_BYTES = 1 << 30
_GPU_BYTES = 80_000_000_000
# Of a GPU, where the operator says nothing else.
_VLLM_SHARE = 0.4
# Its cache: prompts from this length on are kept once, it grows by so many columns or half its length, and is
# copied without the rows that have ended once they are a fifth.
_SHARED_FROM = 64
_GROWTH = 64
_GOING_ON = 0.8
# Logits, log-probabilities and two float64 running sums of probabilities.
_SAMPLER_LOGITS = 6
# Elements of the two tiles of logits of the update.
_TILE_ELEMENTS = {"cpu": 1 << 23, "gpu": 1 << 27}
# What stays between the freed blocks of a CPU's heap; the sums of adapted layers leave many.
_HEAP, _HEAP_OF_ADAPTERS = 1.12, 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The numbers that every part is computed from."""

    spec: JobSpec
    facts: ModelFacts
    load: Workload
    layers: int
    hidden: int

    @property
    def trainable(self) -> int:
        """Trained parameters."""
        lora, widths = self.spec.model.lora, self.facts.adapter_widths
        if lora is None:
            return self.facts.parameters
        kinds = widths if lora.target_modules == "all-linear" else lora.target_modules
        return lora.rank * sum(widths.get(kind, 0) for kind in kinds)

    @property
    def is_cpu(self) -> bool:
        return self.spec.resources.device == "cpu"

    @property
    def itemsize(self) -> int:
        """Bytes of a weight."""
        return 4 if self.spec.model.dtype == "float32" else 2

    @property
    def weights(self) -> int:
        """Bytes of the model, its adapters included."""
        adapters = 0 if self.spec.model.lora is None else 4 * self.trainable
        return self.itemsize * self.facts.parameters + adapters

    @property
    def shards(self) -> int:
        """Among how many devices weights, gradients and moments are cut."""
        resources = self.spec.resources
        return resources.devices if resources.sharding == "sharded" else 1


def sizes(spec: JobSpec, facts: ModelFacts, load: Workload) -> Sizes | None:
    """The sizes of a job, where the model's config tells what it takes."""
    if not facts.parameters or facts.layers is None or facts.hidden is None:
        return None
    return Sizes(spec=spec, facts=facts, load=load, layers=facts.layers, hidden=facts.hidden)


def memory(one: Sizes) -> Memory:
    """The parts."""
    lasting = {
        "process": _process(one),
        "weights": one.weights // one.shards,
        "reference": _reference(one),
        "sampler_weights": _sampler_weights(one),
        "gradients": one.itemsize * one.trainable // one.shards + _sent_gradients(one),
        "optimiser": _optimiser(one) // one.shards,
    }
    return Memory(
        **lasting,
        **_sampling(one, kept=sum(lasting.values())),
        activations=round(_activations(one)),
        logits=_logits(one),
        checkpoint=_merged(one),
    )


def peak(one: Sizes, parts: Memory) -> int:
    """The most that is taken at once.

    What lasts, with the largest of sampling, updating and saving. On a CPU sampling comes on top of the
    others, since the allocator keeps what they took; it does too where rollouts are made during updates.
    """
    lasting = parts.process + parts.weights + parts.reference + parts.sampler_weights
    lasting += parts.gradients + parts.optimiser
    sampling = parts.kv_cache + parts.sampler_logits
    others = max(parts.activations + parts.logits, parts.checkpoint)
    if one.is_cpu or one.spec.rollout.max_staleness:
        return lasting + sampling + others
    return lasting + max(sampling, others)


def _process(one: Sizes) -> int:
    if not one.is_cpu:
        return 0
    return _PROCESS_BYTES + _VOCABULARY_ENTRY_BYTES * (one.facts.vocabulary or 0)


def needs_reference(spec: JobSpec) -> bool:
    """Whether the objective compares with the base model."""
    coefficient = spec.algorithm.parameters.get("kl_coefficient")
    return isinstance(coefficient, int | float) and coefficient > 0


def _reference(one: Sizes) -> int:
    """A second copy of the base model; adapters are switched off instead."""
    is_copy = needs_reference(one.spec) and one.spec.model.lora is None
    return one.weights // one.shards if is_copy else 0


def _sampler_weights(one: Sizes) -> int:
    """Copies to sample with: of weights that older rollouts use (some wait and one samples), or of those that
    are cut among devices."""
    staleness = one.spec.rollout.max_staleness
    older = (staleness + 2) * one.itemsize * one.trainable if staleness else 0
    return older + (one.weights if one.shards > 1 else 0)


def _sent_gradients(one: Sizes) -> int:
    """The bucket in which gradients are summed over several devices."""
    return 4 * min(one.trainable, 1 << 24) if one.spec.resources.devices > 1 else 0


def _optimiser(one: Sizes) -> int:
    """AdamW's two moments; and for bfloat16 weights their float32 copies, with gradients."""
    is_copied = one.itemsize == 2 and one.spec.model.lora is None
    return (16 if is_copied else 8) * one.trainable


def _sampling(one: Sizes, *, kept: int) -> dict[str, int]:
    """Keys and values, and logits, of what is decoded at once; vLLM keeps to its share."""
    if one.spec.rollout.engine == "vllm":
        return {"kv_cache": round(_VLLM_SHARE * _GPU_BYTES), "sampler_logits": 0}
    width = one.facts.key_width or one.hidden
    token = 2 * one.layers * width * one.itemsize
    limit = _CPU_CACHE_BYTES if one.is_cpu else max(0, _GPU_BYTES - kept) // 2
    fitting = max(one.load.group, limit // (token * (one.load.prompt + one.load.response)))
    rows = [(min(fitting, prompts * responses), responses) for prompts, responses in one.load.batches]
    logits = 4 * _SAMPLER_LOGITS * max(count for count, _ in rows) * (one.facts.vocabulary or 0)
    cells = max(_cells(one.load, rows=count, responses=responses) for count, responses in rows)
    return {"kv_cache": token * cells, "sampler_logits": logits}


def _cells(load: Workload, *, rows: int, responses: int) -> int:
    """Tokens that the cache has room for at its largest, and those in a copy of it."""
    is_shared = load.prompt >= _SHARED_FROM
    columns = start = 0 if is_shared else load.prompt
    most, end = 0, start + load.response
    while columns < end:
        larger = columns + min(load.response, max(_GROWTH, columns // 2))
        # The old one is there while the new one is filled.
        most, columns = max(most, larger + (columns if columns > start else 0)), larger
    copied = columns + round(_GOING_ON * end)
    return rows * max(most, copied) + (rows // responses * load.prompt if is_shared else 0)


def _activations(one: Sizes) -> float:
    """What the layers keep for the backward pass, or their inputs and one layer's where they are recomputed.

    Of each position: states at two norms and after attention, four times the wide part, queries and their
    answers; of each key that a response reads, it and its value.
    """
    load, hidden, is_lora = one.load, one.hidden, one.spec.model.lora is not None
    wide = 4 * (one.facts.intermediate or 4 * hidden)
    position = (7 if _is_by_modules(one) and not is_lora else 5) * hidden + wide
    attention = 2 * (one.facts.query_width or hidden) * load.queries
    attention += 2 * (one.facts.key_width or hidden) * load.paths
    is_half = one.itemsize == 2 or one.spec.model.autocast
    # Norms compute in float32.
    layer = (2 if is_half else 4) * (position * load.nodes + attention)
    layer += 4 * hidden * load.nodes if is_half else 0
    inputs = (2 if is_half else 4) * hidden * load.nodes
    is_recomputed = one.spec.optimiser.gradient_checkpointing
    total = one.layers * inputs + layer if is_recomputed else one.layers * layer
    return total * ((_HEAP_OF_ADAPTERS if is_lora else _HEAP) if one.is_cpu else 1.0)


def _is_by_modules(one: Sizes) -> bool:
    """Whether the layers run as the library's modules, whose norms keep their input too."""
    spec = one.spec
    return spec.model.autocast or spec.optimiser.gradient_checkpointing or one.shards > 1


def _logits(one: Sizes) -> int:
    """Two tiles of logits; later, when they are gone, the gradient of the embedding."""
    vocabulary = one.facts.vocabulary or 0
    tokens = one.load.groups * one.load.group * one.load.response
    elements = min(_TILE_ELEMENTS[one.spec.resources.device], tokens * vocabulary)
    is_full = one.spec.model.lora is None
    return max(2 * 4 * elements, one.itemsize * vocabulary * one.hidden if is_full else 0)


def _merged(one: Sizes) -> int:
    """A checkpoint's copy of the weights that adapters change."""
    lora = one.spec.model.lora
    return one.weights if lora is not None and lora.save_as == "merged" else 0
