"""What a sampler of prompts is: places in the data, out; how their prompts were answered, in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from espo_core.errors import CheckpointError


class SamplerState(BaseModel):
    """How many prompts were handed out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: int = Field(ge=1)
    """Prompts of the data, to notice data that changed."""
    epoch: int = Field(ge=0)
    """Whole passes done."""
    position: int = Field(ge=0)
    """Prompts of this pass already handed out."""

    def check(self, *, prompts: int) -> None:
        """Raise CheckpointError unless this is a place in data of so many prompts."""
        if self.prompts != prompts or self.position >= prompts:
            raise CheckpointError(
                f"the checkpoint was made with {self.prompts} prompts, the data has {prompts}",
                hint="Resume with the data that the run was started with.",
            )


class PromptSampler(Protocol):
    """Chooses the prompts of a run: what it hands out follows from its seed and what it was told."""

    def next(self, count: int) -> list[int]:
        """The next `count` places in the data."""
        ...

    def observe(self, places: Sequence[int], *, right: Tensor, judged: Tensor) -> None:
        """Hears of prompts that were answered: [N] summed accuracy, and [N] number, of verified responses."""
        ...

    def state(self) -> SamplerState:
        """Where it stands."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What it remembers of the prompts."""
        ...

    def restore(self, state: SamplerState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a saved place.

        Raises:
            CheckpointError: it is not one of this data.
        """
        ...
