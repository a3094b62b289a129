"""The order of prompts: one seeded permutation after another, and a place in it that can be saved."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field

from espo_core.errors import CheckpointError
from espo_core.randomness import derived_seed


class SamplerState(BaseModel):
    """A place in the order of prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int = Field(ge=1)
    """Prompts of the data, to notice data that changed."""
    epoch: int = Field(ge=0)
    """Whole passes done."""
    position: int = Field(ge=0)
    """Prompts of this pass already handed out."""


class PromptSampler:
    """Hands out indices of prompts: each once a pass, in an order that seed and pass fix."""

    def __init__(self, prompts: int, *, seed: int) -> None:
        self._seed = seed
        self._enter(SamplerState(prompts=prompts, epoch=0, position=0))

    def next(self, count: int) -> list[int]:
        """The next `count` indices; a pass that ends in the middle is followed by the next."""
        indices: list[int] = []
        while len(indices) < count:
            taken = self._order[self._position : self._position + count - len(indices)]
            indices.extend(taken)
            self._position += len(taken)
            if self._position == len(self._order):
                self._enter(SamplerState(prompts=len(self._order), epoch=self._epoch + 1, position=0))
        return indices

    def state(self) -> SamplerState:
        """Where it stands."""
        return SamplerState(prompts=len(self._order), epoch=self._epoch, position=self._position)

    def restore(self, state: SamplerState) -> None:
        """Continues from a saved place.

        Raises:
            CheckpointError: the place is not one of this data.
        """
        if state.prompts != len(self._order) or state.position >= state.prompts:
            raise CheckpointError(
                f"the checkpoint was made with {state.prompts} prompts, the data has {len(self._order)}",
                hint="Resume with the data that the run was started with.",
            )
        self._enter(state)

    def _enter(self, state: SamplerState) -> None:
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "order", state.epoch))
        self._order: list[int] = torch.randperm(state.prompts, generator=generator).tolist()
        self._epoch, self._position = state.epoch, state.position
