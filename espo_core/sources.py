"""Where a run gets its rollouts from: in turn with the updates here, or ahead of them (pipeline.py)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from espo_core.checkpoint import TrainingState, under
from espo_core.errors import CheckpointError
from espo_core.gather import Gatherer
from espo_core.optim import check_tensors
from espo_core.pending import PendingRollout
from espo_core.samplers import PromptSampler, SamplerState
from espo_core.samplers.dynamic import Gathered

# What the names of a source's tensors in a training state begin with.
ROLLOUT_TENSORS = ("sampler/", "pending/")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceState:
    """Where a source of rollouts stands after a step, as a checkpoint keeps it."""

    sampler: SamplerState
    pending: list[PendingRollout]
    tensors: dict[str, Tensor]


class RolloutSource(Protocol):
    """Gives each step its rollout."""

    def running(self, done: int) -> AbstractContextManager[None]:
        """Makes rollouts while the context is open; `done` steps were trained before."""
        ...

    def take(self, step: int) -> Gathered:
        """The rollout of the next step.

        Raises:
            EspoError: it could not be made.
        """
        ...

    def follow(self, step: int) -> None:
        """Takes note that the policy has been trained on this step."""
        ...

    def metrics(self) -> dict[str, float]:
        """What the rollout last taken tells of its making."""
        ...

    def state(self, step: int) -> SourceState:
        """Where it stands after this step, the last that was taken."""
        ...

    def restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a checkpoint.

        Raises:
            CheckpointError: it is not one of this run.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurn:
    """Makes each rollout when it is asked for, by the weights of that moment."""

    gatherer: Gatherer

    def running(self, done: int) -> AbstractContextManager[None]:
        """Runs nothing beside the steps."""
        return nullcontext()

    def take(self, step: int) -> Gathered:
        """The rollout of the next step."""
        return self.gatherer.gather(step)

    def follow(self, step: int) -> None:
        """Does nothing: the policy that samples is the one that is trained."""

    def metrics(self) -> dict[str, float]:
        """Nothing: it is not stale, and its making is a part of the step."""
        return {}

    def state(self, step: int) -> SourceState:
        """Where it stands after this step."""
        sampler = self.gatherer.sampler
        return SourceState(sampler=sampler.state(), pending=[], tensors=remembered(sampler))

    def restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a checkpoint."""
        check_pending(state, staleness=0)
        restore_sampler(self.gatherer.sampler, state, tensors)


def remembered(sampler: PromptSampler) -> dict[str, Tensor]:
    """What a sampler remembers, by its names in the training state."""
    return {f"sampler/{name}": one for name, one in sampler.tensors().items()}


def restore_sampler(sampler: PromptSampler, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    """Continues a sampler of prompts from a checkpoint.

    Raises:
        CheckpointError: it is not one of this data.
    """
    memory = under("sampler/", tensors)
    sampler.restore(state.sampler, memory)
    check_tensors(memory, sampler.tensors(), what="sampler state")


def check_pending(state: TrainingState, *, staleness: int) -> None:
    """Raise CheckpointError unless the checkpoint keeps rollouts of the next steps, at most so many."""
    kept = [one.step for one in state.pending]
    if len(kept) > staleness or kept != list(range(state.step + 1, state.step + 1 + len(kept))):
        raise CheckpointError(
            f"the checkpoint keeps rollouts made ahead for steps {kept}, and the job has "
            f"rollout.max_staleness {staleness}",
            hint="Resume with the rollout.max_staleness that the run was started with.",
        )
