"""Dynamic sampling, arXiv:2503.14476v2, Section 3.2: train on prompts whose responses differ in reward.

A prompt that is always or never solved has advantage 0 throughout. It is passed over and another is asked in
its place, for a bounded number of rounds; the step then trains on the prompts that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from espo_core.answers import Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the rounds of one step brought."""

    places: Sequence[int]
    """Of every prompt that was asked, in the data."""
    sampled: Answers
    """Every prompt that was asked."""
    kept: Answers
    """Those that are trained on."""
    rounds: int


@dataclass(slots=True, kw_only=True)
class Gathering:
    """The rounds of one step; each asks as many prompts as are missing."""

    wanted: int
    """Prompts to train on."""
    is_dynamic: bool
    """Count only prompts with contrast."""
    _places: list[int] = field(default_factory=list, init=False)
    _rounds: list[Answers] = field(default_factory=list, init=False)

    def add(self, places: Sequence[int], answers: Answers) -> None:
        """Takes in a round: places in the data, and the answers to the prompts there."""
        self._places += places
        self._rounds.append(answers)

    @property
    def missing(self) -> int:
        """Prompts to ask in the next round."""
        return self.wanted - sum(self._count(answers) for answers in self._rounds)

    def result(self, *, rounds: int | None = None) -> Gathered:
        """What the rounds brought; `rounds` is their number where one stands for several."""
        sampled = Answers.joined(self._rounds)
        kept = self._kept(sampled) if self.is_dynamic else sampled
        return Gathered(places=self._places, sampled=sampled, kept=kept, rounds=rounds or len(self._rounds))

    def _kept(self, sampled: Answers) -> Answers:
        """The prompts with contrast; where none has any those asked first, from which nothing is learned."""
        has_contrast = sampled.has_contrast()
        is_first = torch.arange(len(sampled.prompts)) < self.wanted
        return sampled.select(has_contrast if has_contrast.any() else is_first)

    def _count(self, answers: Answers) -> int:
        return int(answers.has_contrast().sum()) if self.is_dynamic else len(answers.prompts)
