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

    def checked(self) -> Scored:
        """These responses, of which at least one could be judged.

        Raises:
            VerifierError: a verifier raised on every one, so there is nothing to learn from.
        """
        if all(score.raised for score in self.scores):
            raise VerifierError(
                f"the reward failed on all {len(self.scores)} responses: {self.scores[0].raised[0]}"
            )
        return self

    def warnings(self) -> list[str]:
        """Verifiers that raised on some responses."""
        raised = [reason for score in self.scores for reason in score.raised]
        return [f"{len(raised)} verdicts failed, the first with {raised[0]}"] if raised else []


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
