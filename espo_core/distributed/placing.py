"""A model and its engine as the ranks of a run hold them."""

from __future__ import annotations

from pathlib import Path

import torch

from espo_contracts.job import JobSpec
from espo_core.distributed.replicas import Replicas, Replicated, Sharded
from espo_core.distributed.sharing import SharedEngine
from espo_core.distributed.world import World
from espo_core.policy import Policy, load_policy, ready_to_train
from espo_core.rollout.engine import RolloutEngine


def load_on_ranks(
    spec: JobSpec, *, folder: Path | None, device: torch.device, world: World
) -> tuple[Policy, Replicas]:
    """The policy of a job, whole or cut among the ranks as it says.

    Raises:
        ModelError: the model cannot be found or used; the message says what to do.
    """
    if world.is_alone or spec.resources.sharding == "replicated":
        policy = load_policy(spec.model, folder=folder, device=device, seed=spec.seed)
        return _ready(policy, spec, is_whole=True), Replicated(world)
    # It need not fit on one device before it is cut.
    policy = load_policy(spec.model, folder=folder, device=torch.device("cpu"), seed=spec.seed)
    policy = _ready(policy, spec, is_whole=False)
    return policy, Sharded.of(policy.model, world, device)


def _ready(policy: Policy, spec: JobSpec, *, is_whole: bool) -> Policy:
    return ready_to_train(
        policy,
        checkpointing=spec.optimiser.gradient_checkpointing,
        compiled=spec.resources.compile,
        is_whole=is_whole,
    )


def on_ranks(engine: RolloutEngine, policy: Policy, replicas: Replicas) -> RolloutEngine:
    """An engine of this rank, as one of all."""
    world = replicas.world
    if world.is_alone:
        return engine
    return SharedEngine(engine=engine, world=world, device=policy.device, ready=replicas.whole)
