"""The parts of a job specification, each field bounded, described and defaulted to a vetted value.

A string under a field is its description in the JSON Schema that the API serves.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, JsonValue, StringConstraints, model_validator

from espo_contracts.part import Part

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]
# Classes are spelled out: \w would be all of Unicode here but ASCII in JSON Schema, and its bounded
# repetition compiles into tens of megabytes.
HubId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-/]{0,127}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^job-[0-9a-f]{32}$")]
FileId = Annotated[str, StringConstraints(pattern=r"^file-[0-9a-f]{32}$")]
Column = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
PartName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Parameters = Annotated[dict[str, JsonValue], Field(max_length=64)]


def _exactly_one(part: BaseModel, *names: str) -> None:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; got {', '.join(given) or 'none'}")


class HubModel(Part):
    """A model of the Hugging Face hub, where the operator allows the hub."""

    id: HubId
    """Repository, such as `Qwen/Qwen3-1.7B-Base`."""
    revision: Revision = "main"
    """Branch, tag or commit; a commit makes the job reproducible."""


class CheckpointRef(Part):
    """A checkpoint of an earlier job of the same project."""

    job: JobId
    """The job that wrote it."""
    step: Annotated[int, Field(ge=0)]
    """Its step."""


class Lora(Part):
    """Low-rank adapters instead of full fine-tuning (arXiv 2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank r of each adapter."""
    alpha: Annotated[float, Field(gt=0, le=1024)] = 32.0
    """Scale: the update is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input; 0 keeps the policy ratio at exactly 1 on the first update."""
    target_modules: Literal["all-linear"] | Annotated[list[PartName], Field(min_length=1, max_length=32)] = (
        "all-linear"
    )
    """Which linear layers get an adapter."""
    save_as: Literal["merged", "adapters"] = "merged"
    """What a checkpoint's model files are: a whole model with the adapters merged in, or a peft folder of the
    adapters alone."""


class ModelSpec(Part):
    """The policy to train: exactly one of `name`, `hub`, `checkpoint`."""

    name: ModelName | None = None
    """A folder in the operator's model directory; `GET /v1/models` lists them."""
    hub: HubModel | None = None
    """A hub model, where the operator allows the hub."""
    checkpoint: CheckpointRef | None = None
    """Start from the weights of an earlier job's checkpoint (a fresh optimiser)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights. float32 is exact and, on a CPU without AMX, also the fastest."""
    autocast: bool = False
    """Matrix products of the update in bfloat16 while the weights stay float32; for GPUs."""
    lora: Lora | None = None
    """Train adapters only."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _exactly_one(self, "name", "hub", "checkpoint")
        return self


class HubDataset(Part):
    """A dataset of the Hugging Face hub, where the operator allows the hub."""

    id: HubId
    """Repository, such as `hkust-nlp/SimpleRL-Zoo-Data`."""
    revision: Revision = "main"
    """Branch, tag or commit; a commit makes the job reproducible."""
    config: ModelName | None = None
    """Configuration name, where the dataset has several."""
    split: ModelName = "train"
    """Split to train on."""


class TaskRef(Part):
    """A generated task: the rows come from a seeded program."""

    name: PartName
    """One of `GET /v1/tasks`."""
    parameters: Parameters = Field(default_factory=dict)
    """Its parameters; the catalogue has their JSON Schema."""


class HeldOut(Part):
    """The part of the data that is never trained on."""

    fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the rows of a file or hub dataset; a generated task brings held-out rows of its own."""
    max_prompts: Annotated[int, Field(ge=0, le=100_000)] = 512
    """At most this many held-out prompts are evaluated."""


class DataSpec(Part):
    """Prompts and references: exactly one of `task`, `file`, `hub`."""

    task: TaskRef | None = None
    """A generated task."""
    file: FileId | None = None
    """An uploaded JSONL file. The command line also takes a path here and uploads it."""
    hub: HubDataset | None = None
    """A hub dataset."""
    prompt_template: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """Text with {column} placeholders. Without it a row's `messages` or `prompt` column is the prompt."""
    chat: bool | None = None
    """Render prompts with the model's chat template. Unset: rows with `messages` are chat, others text."""
    system: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """A system message put before each chat prompt."""
    max_prompt_tokens: Annotated[int, Field(ge=1, le=131_072)] = 1024
    """Longer prompts are dropped, and the log says how many."""
    held_out: HeldOut = HeldOut()
    """What is kept for evaluation."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _exactly_one(self, "task", "file", "hub")
        if self.system is not None and self.chat is False:
            raise ValueError("system needs chat prompts: leave out chat, or set it to true")
        return self


class RewardPart(Part):
    """One verifier and its weight in the reward."""

    verifier: PartName
    """One of `GET /v1/verifiers`."""
    weight: Annotated[float, Field(ge=-100, le=100)] = 1.0
    """The reward is the sum of weight x score."""
    parameters: Parameters = Field(default_factory=dict)
    """Its parameters; the catalogue has their JSON Schema."""


class AlgorithmSpec(Part):
    """The policy objective and its parameters."""

    name: PartName = "espo"
    """One of `GET /v1/algorithms`."""
    parameters: Parameters = Field(default_factory=dict)
    """Its parameters; the catalogue has their JSON Schema and their defaults."""


class OptimiserSpec(Part):
    """AdamW and how a rollout batch is used."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-6
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Shape after the warm-up; linear and cosine end at zero."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Steps of linear warm-up from zero."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled weight decay on matrices."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """AdamW's decay of the second moment."""
    max_gradient_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """The global gradient norm is clipped to this."""
    mini_batches: Annotated[int, Field(ge=1, le=1024)] = 4
    """Optimiser updates per pass over a rollout batch; each takes whole prompt groups."""
    epochs: Annotated[int, Field(ge=1, le=64)] = 1
    """Passes over each rollout batch."""
    micro_batch_tokens: Annotated[int, Field(ge=64, le=16_777_216)] = 16_384
    """Tokens per forward pass; bounds memory, changes no result beyond rounding."""
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass instead of keeping its activations: less memory, a third more
    time."""


class ScheduleSpec(Part):
    """Length of the run, and what is done every so often."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Rollout batches."""
    evaluate_every: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Accuracy on held-out prompts every so many steps; 0 evaluates at the end only."""
    evaluate_samples: Annotated[int, Field(ge=0, le=1024)] = 0
    """Responses drawn to each held-out prompt at an evaluation, for avg@n and pass@k; 0 is greedy only."""
    checkpoint_every: Annotated[int, Field(ge=0, le=10_000_000)] = 50
    """A checkpoint every so many steps; the last step is always kept. 0 keeps the last only."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """Newest checkpoints kept; the best and the last are kept beside them."""
    samples_per_step: Annotated[int, Field(ge=0, le=64)] = 2
    """Prompts of each step whose responses are recorded as samples."""


class ResourceSpec(Part):
    """What the job needs."""

    device: Literal["cpu", "gpu"] = "cpu"
    """Class of worker that may take it."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Devices of one worker that train together, a process each."""
    sharding: Literal["replicated", "sharded"] = "replicated"
    """With several devices: a whole copy of the model on each, or its weights and optimiser cut among them
    (FSDP2)."""
    compile: bool = False
    """Compile the model first: up to a minute at the start, for runs of hours."""
    cpu_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of a CPU run. Part of the job, because sums on another number of threads round differently."""
    max_hours: Annotated[float, Field(gt=0, le=2160)] = 24.0
    """A job that trains longer than this, in all its attempts, ends as failed with code `timeout`. A retry
    allows it anew."""
