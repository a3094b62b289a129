"""Dynamic sampling, arXiv:2503.14476v2, Section 3.2: train on prompts whose responses differ in reward.

A prompt that is always or never solved has advantage 0 throughout. It is passed over and another is asked in
its place, for a bounded number of rounds; the step then trains on the prompts that there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from espo_core.answers import Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the rounds of one step brought."""

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
    rounds: list[Answers] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Prompts to ask in the next round."""
        return self.wanted - sum(self._count(answers) for answers in self.rounds)

    def result(self) -> Gathered:
        """What the rounds brought."""
        sampled = Answers.joined(self.rounds)
        kept = self._kept(sampled) if self.is_dynamic else sampled
        return Gathered(sampled=sampled, kept=kept, rounds=len(self.rounds))

    def _kept(self, sampled: Answers) -> Answers:
        """The prompts with contrast; where none has any the first round, from which nothing is learned."""
        has_contrast = sampled.has_contrast()
        return sampled.select(has_contrast) if has_contrast.any() else self.rounds[0]

    def _count(self, answers: Answers) -> int:
        return int(answers.has_contrast().sum()) if self.is_dynamic else len(answers.prompts)
