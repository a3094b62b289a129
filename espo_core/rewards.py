"""The rewards of a rollout, and what of them people must hear about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

from espo_core.errors import VerifierError
from espo_core.prompts import Prompt
from espo_core.verifiers import Score, WeightedVerifier, score_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Responses as text with their scores; response r answers prompt r // G."""

    completions: list[str]
    scores: list[Score]

    def rewards(self) -> Tensor:
        """[R] float32."""
        return torch.tensor([score.reward for score in self.scores], dtype=torch.float32)

    def verified(self) -> Tensor:
        """[R] bool."""
        return torch.tensor([score.verified for score in self.scores])

    def verified_fractions(self) -> dict[str, float]:
        """By the name of each verifier, the share of the responses on which it came to a verdict."""
        missing = Counter(name for score in self.scores for name in score.unverified)
        return {name: 1 - missing[name] / len(self.scores) for name in self.scores[0].parts}

    def accuracy(self, verifier: int) -> list[float]:
        """The scores of one verifier, given by its place in the reward."""
        return [list(score.parts.values())[verifier] for score in self.scores]

    def select(self, is_kept: Sequence[bool]) -> Scored:
        """Some of the responses, in their order."""
        return Scored(
            completions=list(compress(self.completions, is_kept)), scores=list(compress(self.scores, is_kept))
        )

    @staticmethod
    def joined(parts: Sequence[Scored]) -> Scored:
        """The responses of several, in their order."""
        return Scored(
            completions=[text for part in parts for text in part.completions],
            scores=[score for part in parts for score in part.scores],
        )

    def checked(self, *, prompts: int) -> Scored:
        """These responses, to so many prompts, of which at least one could be judged.

        Raises:
            VerifierError: verifiers raised on every one, or came to an end on none though the prompts differ:
                there is nothing to learn from, and will not be.
        """
        if all(score.raised for score in self.scores):
            raise VerifierError(
                f"the reward failed on all {len(self.scores)} responses: {self.scores[0].raised[0]}"
            )
        if prompts > 1 and all(score.cut_off for score in self.scores):
            names = ", ".join(sorted({name for score in self.scores for name in score.cut_off}))
            raise VerifierError(
                f"the reward came to no end on any of {len(self.scores)} responses: {names} used up its time "
                "or memory on each",
                hint="Raise the verifier's timeout_seconds, or simplify its pattern or schema.",
            )
        return self

    def warnings(self) -> list[str]:
        """Verifiers that raised on some responses, or came to no end."""
        raised = [reason for score in self.scores for reason in score.raised]
        cut_off = Counter(name for score in self.scores for name in score.cut_off)
        failed = [f"{len(raised)} verdicts failed, the first with {raised[0]}"] if raised else []
        return failed + [
            f"{name} came to no end on {count} of {len(self.scores)} responses within its time and memory"
            for name, count in sorted(cut_off.items())
        ]


def heaviest(verifiers: Sequence[WeightedVerifier]) -> int:
    """The place of the verifier with the largest weight, the first among equals."""
    weights = [one.weight for one in verifiers]
    return weights.index(max(weights))


def score_responses(
    verifiers: Sequence[WeightedVerifier], prompts: Sequence[Prompt], completions: list[str]
) -> Scored:
    """The scores of G completions of each prompt."""
    group = len(completions) // len(prompts)
    scores = [
        score_all(verifiers, completion, prompts[index // group].row)
        for index, completion in enumerate(completions)
    ]
    return Scored(completions=completions, scores=scores)
