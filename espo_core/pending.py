"""A rollout that was made ahead of the step which trains on it, as a checkpoint keeps it.

Its tokens with what their sampling gave are tensors; its prompts, by their places in the data, and the scores
are text. What follows from these is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from espo_core.errors import CheckpointError
from espo_core.gather import Gatherer
from espo_core.rollout.engine import Rollout
from espo_core.samplers.dynamic import Gathered
from espo_core.verifiers import Score

Place = Annotated[int, Field(ge=0)]


class PendingRollout(BaseModel):
    """The part of a rollout that is not tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = Field(ge=1)
    """Which trains on it."""
    weights: int = Field(ge=0)
    """The step after which the weights that sampled it were taken."""
    rounds: int = Field(ge=1)
    places: list[Place] = Field(min_length=1)
    """Of its prompts in the data."""
    scores: list[Score]

    @classmethod
    def of(cls, gathered: Gathered, *, step: int, weights: int) -> PendingRollout:
        """What is kept of the rollout of a step, beside `pending_tensors`."""
        return cls(
            step=step,
            weights=weights,
            rounds=gathered.rounds,
            places=list(gathered.places),
            scores=gathered.sampled.scored.scores,
        )

    def gathered(self, gatherer: Gatherer, tensors: Mapping[str, Tensor]) -> Gathered:
        """The rollout as it was when it was kept; `tensors` are those of the training state.

        Raises:
            CheckpointError: it is not one of this run.
        """
        rollout = self._rollout(tensors, gatherer.policy.device)
        responses = len(self.places) * gatherer.sampling.responses
        is_whole = len(rollout.lengths) == len(self.scores) == responses
        if not is_whole or max(self.places) >= len(gatherer.prompts):
            raise CheckpointError(
                f"the rollout that the checkpoint keeps for step {self.step} is not one of this run",
                hint="Resume with the data and the rollout settings that the run was started with.",
            )
        return gatherer.gathered_before(rollout, self.scores, places=self.places, rounds=self.rounds)

    def _rollout(self, tensors: Mapping[str, Tensor], device: torch.device) -> Rollout:
        names = {one.name: _name(self.step, one.name) for one in fields(Rollout)}
        try:
            rollout = Rollout(**{name: tensors[key].to(device) for name, key in names.items()})
        except KeyError as error:
            raise CheckpointError(f"the checkpoint lacks {error} of a rollout made ahead") from error
        if {len(rollout.tokens), len(rollout.logp), len(rollout.entropy)} != {int(rollout.lengths.sum())}:
            raise CheckpointError(f"the checkpoint's rollout of step {self.step} is not whole")
        return rollout


def pending_tensors(rollout: Rollout, *, step: int) -> dict[str, Tensor]:
    """The tensors of the rollout of a step, by their names in the training state."""
    return {_name(step, one.name): getattr(rollout, one.name) for one in fields(Rollout)}


def _name(step: int, field: str) -> str:
    return f"pending/{step}/{field}"
