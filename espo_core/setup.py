"""From a job's specification to the parts of its run."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from espo_contracts.events import Started
from espo_contracts.job import JobSpec
from espo_contracts.rollout import RolloutSpec
from espo_core.algorithms import get_algorithm
from espo_core.checkpoint import TrainingState, load_training_state, under
from espo_core.data import PromptData, load_data
from espo_core.device import prepare_device
from espo_core.distributed.placing import load_on_ranks, on_ranks
from espo_core.distributed.replicas import Replicas, Replicated, cut_like
from espo_core.distributed.world import ALONE, World
from espo_core.errors import CheckpointError, ConfigError, DataError
from espo_core.evaluate import Evaluator
from espo_core.gather import Gatherer
from espo_core.learner import Learner
from espo_core.objectives import Objective, get_objective
from espo_core.optim import Optimiser, check_tensors
from espo_core.overlong import OverlongPenalty
from espo_core.pipeline import Pipeline, sampling_copy
from espo_core.policy import Policy, load_policy, with_fused_layers
from espo_core.rollout.build import build_engine, trained_engine
from espo_core.rollout.engine import RolloutEngine, Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.samplers import build_sampler
from espo_core.sources import ROLLOUT_TENSORS, InTurn, RolloutSource
from espo_core.verifiers import WeightedVerifier, build_reward, reference_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """What a run needs."""

    spec: JobSpec
    work_dir: Path
    """Checkpoints are saved here, as complete folders `checkpoint-<step>`."""
    model: Path | None
    """Folder of the base model; None takes `spec.model.hub` from the hub."""
    data_file: Path | None = None
    """JSONL of `spec.data.file`."""
    resume: Path | None = None
    """Checkpoint with training state to continue from."""
    world: World = ALONE
    """The ranks that run it together, each with the same inputs."""
    must_stop: Callable[[], bool] = bool
    """Asked after each step, of the first rank: whether to save and end here."""


@dataclass(slots=True, kw_only=True)
class Run:
    """The parts of a run."""

    policy: Policy
    data: PromptData
    objective: Objective
    rollouts: RolloutSource
    overlong: OverlongPenalty
    optimiser: Optimiser
    learner: Learner
    evaluator: Evaluator
    replicas: Replicas
    steps_done: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the training state, beside those of the rollouts."""
        tensors = {f"optimiser/{name}": one for name, one in self.optimiser.state().items()}
        tensors |= {f"objective/{name}": one for name, one in self.objective.state().items()}
        if self.policy.adapters is not None:
            adapters = self.policy.trainable().items()
            tensors |= {f"adapter/{name}": one.detach() for name, one in adapters}
        return tensors

    def restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        """Continues after a checkpoint whose weights the policy already has, adapters excepted.

        Raises:
            CheckpointError: the state is not one of this run.
        """
        self.rollouts.restore(state, tensors)
        trained = {name: one for name, one in tensors.items() if not name.startswith(ROLLOUT_TENSORS)}
        check_tensors(trained, self.tensors(), what="training state")
        self.optimiser.restore(under("optimiser/", tensors))
        self.objective = self.objective.restored(under("objective/", tensors))
        if self.policy.adapters is not None:
            with torch.no_grad():
                for name, one in self.policy.trainable().items():
                    one.copy_(cut_like(tensors[f"adapter/{name}"], one))
        self.steps_done = state.step


def prepare_run(inputs: RunInputs) -> Run:
    """The parts of a job's run, at its start or at the checkpoint that it resumes from.

    Raises:
        EspoError: the model, the data, a name or a checkpoint is unusable.
    """
    spec, device = inputs.spec, prepare_device(inputs.spec.resources, inputs.world)
    objective = get_objective(spec.algorithm.name, **spec.algorithm.parameters)
    verifiers = build_reward(spec.reward)
    policy, replicas = load_on_ranks(spec, folder=_weights(inputs), device=device, world=inputs.world)
    data = load_data(
        spec.data, policy.tokenizer, file=inputs.data_file, columns=reference_columns(spec.reward)
    )
    parts = _Parts(
        policy=policy,
        replicas=replicas,
        data=data,
        objective=objective,
        verifiers=verifiers,
        engine=on_ranks(trained_engine(spec, policy), policy, replicas),
    )
    run = _assembled(inputs, parts)
    if inputs.resume is not None:
        state, tensors = load_training_state(inputs.resume)
        if state.seed != spec.seed:
            raise CheckpointError(f"the checkpoint was made with seed {state.seed}, the job has {spec.seed}")
        run.restore(state, tensors)
    return run


def prepare_evaluator(
    spec: JobSpec, *, model: Path, data_file: Path | None, prompts: int | None
) -> Evaluator:
    """An evaluator of any model folder on the held-out prompts of a job, at most `prompts` of them.

    Raises:
        DataError: the job holds nothing out.
        EspoError: the model, the data or a name is unusable.
    """
    if prompts is not None:
        held_out = spec.data.held_out.model_copy(update={"max_prompts": prompts})
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"held_out": held_out})})
    device = prepare_device(spec.resources)
    plain = spec.model.model_copy(update={"lora": None})
    policy = with_fused_layers(load_policy(plain, folder=model, device=device, seed=spec.seed))
    data = load_data(spec.data, policy.tokenizer, file=data_file, columns=reference_columns(spec.reward))
    if not data.held_out:
        raise DataError("the job holds out no prompts", hint="Raise data.held_out.fraction or max_prompts.")
    return _evaluator(spec, policy, NativeEngine(policy=policy), data)


def sampling_of(spec: RolloutSpec) -> Sampling:
    """How a job's responses are drawn."""
    return Sampling(
        responses=spec.group_size,
        max_new_tokens=spec.max_new_tokens,
        temperature=spec.temperature,
        top_p=spec.top_p,
        top_k=spec.top_k,
        min_new_tokens=spec.min_new_tokens,
        stop=tuple(spec.stop),
    )


def is_dynamic(spec: JobSpec) -> bool:
    """Whether a job samples dynamically: as it says, else as its algorithm's paper has it."""
    asked = spec.rollout.dynamic_sampling
    return get_algorithm(spec.algorithm.name).dynamic_sampling if asked is None else asked


def started(run: Run, spec: JobSpec) -> Started:
    """The event that begins a run."""
    packages = ("torch", "transformers", "peft")
    versions = {name: importlib.metadata.version(name) for name in packages}
    is_resumed = run.steps_done > 0
    return Started(
        total_steps=spec.schedule.steps,
        resumed_from=run.steps_done if is_resumed else None,
        device=_name(run.policy.device, run.replicas.world),
        parameters=sum(one.numel() for one in run.policy.model.parameters()),
        trainable_parameters=sum(one.numel() for one in run.policy.trainable().values()),
        versions=versions | {"python": platform.python_version()},
    )


def _name(device: torch.device, world: World) -> str:
    return str(device) if world.is_alone else f"{world.size} x {device.type}"


def _weights(inputs: RunInputs) -> Path | None:
    """The folder to load: a resumed run's checkpoint, but the base model where adapters are trained on it."""
    is_full = inputs.spec.model.lora is None
    return inputs.resume if inputs.resume is not None and is_full else inputs.model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the others are made of."""

    policy: Policy
    replicas: Replicas
    data: PromptData
    objective: Objective
    verifiers: Sequence[WeightedVerifier]
    engine: RolloutEngine
    """Samples by the policy that is trained."""


def _assembled(inputs: RunInputs, parts: _Parts) -> Run:
    spec, policy = inputs.spec, parts.policy
    optimiser = Optimiser(policy.trainable(), spec.optimiser, parts.replicas)
    return Run(
        policy=policy,
        replicas=parts.replicas,
        data=parts.data,
        objective=parts.objective,
        rollouts=_rollouts(spec, parts),
        overlong=OverlongPenalty.of(spec.rollout),
        optimiser=optimiser,
        learner=Learner(
            policy=policy,
            optimiser=optimiser,
            spec=spec.optimiser,
            temperature=spec.rollout.temperature,
            seed=spec.seed,
            reference=_reference(inputs, policy, parts.objective),
            correction=spec.rollout.mismatch_correction,
            replicas=parts.replicas,
        ),
        evaluator=_evaluator(spec, policy, parts.engine, parts.data, inputs.world),
    )


def _rollouts(spec: JobSpec, parts: _Parts) -> RolloutSource:
    staleness, world = spec.rollout.max_staleness, parts.replicas.world
    if not staleness:
        return InTurn(gatherer=_gatherer(spec, parts, parts.policy, parts.engine, world))
    if spec.resources.devices > 1 and spec.resources.sharding == "sharded":
        raise ConfigError(
            "rollout.max_staleness needs resources.sharding replicated: what samples ahead is a whole model",
            hint="Set rollout.max_staleness to 0, or resources.sharding to replicated.",
        )
    sampling, world = sampling_copy(parts.policy), world.apart()
    engine = on_ranks(build_engine(spec, sampling), sampling, Replicated(world))
    gatherer = _gatherer(spec, parts, sampling, engine, world)
    return Pipeline(gatherer, trained=parts.policy, staleness=staleness, steps=spec.schedule.steps)


def _gatherer(spec: JobSpec, parts: _Parts, policy: Policy, engine: RolloutEngine, world: World) -> Gatherer:
    return Gatherer(
        policy=policy,
        engine=engine,
        prompts=parts.data.train,
        sampler=build_sampler(spec.rollout, prompts=len(parts.data.train), seed=spec.seed),
        verifiers=parts.verifiers,
        spec=spec.rollout,
        sampling=sampling_of(spec.rollout),
        seed=spec.seed,
        is_dynamic=is_dynamic(spec),
        world=world,
    )


def _evaluator(
    spec: JobSpec, policy: Policy, engine: RolloutEngine, data: PromptData, world: World = ALONE
) -> Evaluator:
    return Evaluator(
        policy=policy,
        engine=engine,
        verifiers=build_reward(spec.reward),
        prompts=data.held_out,
        sampling=sampling_of(spec.rollout),
        seed=spec.seed,
        world=world,
    )


def _reference(inputs: RunInputs, policy: Policy, objective: Objective) -> Policy | None:
    """A second copy of the base model, where the objective compares with it; adapters can be switched off."""
    if "logp_ref" not in objective.requires or policy.adapters is not None:
        return None
    reference, _ = load_on_ranks(inputs.spec, folder=inputs.model, device=policy.device, world=inputs.world)
    reference.model.requires_grad_(False)
    return reference
