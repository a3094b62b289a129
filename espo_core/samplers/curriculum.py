"""Prompts drawn by how often they were solved so far.

Of each prompt two numbers are remembered, its right and its wrong answers, older ones counting less. Its
rate of success is estimated as p = (right + 1) / (right + wrong + 2): 1/2 before it was asked, and never 0 or
1, so that no prompt is given up for good.

Legend: P prompts of the data, N prompts that were asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from espo_contracts.rollout import Curriculum
from espo_core.optim import check_tensors
from espo_core.randomness import derived_seed
from espo_core.samplers.base import SamplerState


def contrast(p: Tensor) -> Tensor:
    """p (1 − p), the variance of an outcome: highest where an answer is as likely right as wrong."""
    return p * (1 - p)


def difficulty(p: Tensor) -> Tensor:
    """(1 − p) / p, the score of SAGE (arXiv:2602.01207), a reconstruction: the harder the more."""
    return (1 - p) / p


WEIGHTS: Mapping[str, Callable[[Tensor], Tensor]] = {"contrast": contrast, "difficulty": difficulty}


class CurriculumSampler:
    """Draws different prompts with chances in proportion to a weight of their rates of success."""

    def __init__(self, prompts: int, *, spec: Curriculum, seed: int) -> None:
        self._seed, self._spec = seed, spec
        self._handed_out = 0
        self._answers = torch.zeros(2, prompts)  # right and wrong

    def next(self, count: int) -> list[int]:
        """The next `count` places, all different where there are as many."""
        places: list[int] = []
        while len(places) < count:
            places += self._drawn(min(count - len(places), self._prompts))
        return places

    def observe(self, places: Sequence[int], *, right: Tensor, judged: Tensor) -> None:
        """Remembers the answers to [N] prompts: summed accuracy, and number, of verified responses."""
        asked = torch.tensor(places, dtype=torch.int64)
        self._answers[:, torch.unique(asked)] *= self._spec.memory
        self._answers.index_add_(1, asked, torch.stack([right, judged - right]))

    def rates(self) -> Tensor:
        """[P] estimated rate of success of each prompt."""
        right, wrong = self._answers
        rate: Tensor = (right + 1) / (right + wrong + 2)
        return rate

    def state(self) -> SamplerState:
        """Where it stands; a pass is as many prompts as the data has."""
        epoch, position = divmod(self._handed_out, self._prompts)
        return SamplerState(prompts=self._prompts, epoch=epoch, position=position)

    def tensors(self) -> dict[str, Tensor]:
        """[2, P] right and wrong answers."""
        return {"answers": self._answers}

    def restore(self, state: SamplerState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a saved place.

        Raises:
            CheckpointError: the place is not one of this data.
        """
        state.check(prompts=self._prompts)
        check_tensors(tensors, self.tensors(), what="sampler state")
        self._handed_out = state.epoch * state.prompts + state.position
        self._answers = tensors["answers"].clone()

    @property
    def _prompts(self) -> int:
        return self._answers.shape[1]

    def _drawn(self, count: int) -> list[int]:
        """Different places, by the largest of log-weights with Gumbel noise (arXiv:1903.06059)."""
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "curriculum", self._handed_out))
        noise = -(-torch.rand(self._prompts, generator=generator, dtype=torch.float64).log()).log()
        keys = WEIGHTS[self._spec.favour](self.rates().double()).log() + noise
        self._handed_out += count
        chosen: list[int] = keys.topk(count).indices.tolist()
        return chosen
