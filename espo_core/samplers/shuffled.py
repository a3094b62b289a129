"""Each prompt once a pass: one seeded permutation after another, and a place in it that can be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from espo_core.randomness import derived_seed
from espo_core.samplers.base import SamplerState


class ShuffledSampler:
    """Hands out places of prompts: each once a pass, in an order that seed and pass fix."""

    def __init__(self, prompts: int, *, seed: int) -> None:
        self._seed = seed
        self._enter(SamplerState(prompts=prompts, epoch=0, position=0))

    def next(self, count: int) -> list[int]:
        """The next `count` places; a pass that ends in the middle is followed by the next."""
        places: list[int] = []
        while len(places) < count:
            taken = self._order[self._position : self._position + count - len(places)]
            places.extend(taken)
            self._position += len(taken)
            if self._position == len(self._order):
                self._enter(SamplerState(prompts=len(self._order), epoch=self._epoch + 1, position=0))
        return places

    def observe(self, places: Sequence[int], *, right: Tensor, judged: Tensor) -> None:
        """Learns nothing: the order is fixed."""

    def state(self) -> SamplerState:
        """Where it stands."""
        return SamplerState(prompts=len(self._order), epoch=self._epoch, position=self._position)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: SamplerState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a saved place.

        Raises:
            CheckpointError: the place is not one of this data.
        """
        state.check(prompts=len(self._order))
        self._enter(state)

    def _enter(self, state: SamplerState) -> None:
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "order", state.epoch))
        self._order: list[int] = torch.randperm(state.prompts, generator=generator).tolist()
        self._epoch, self._position = state.epoch, state.position
