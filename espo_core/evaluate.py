"""Accuracy of a policy on held-out prompts.

An accuracy is the score of the reward's heaviest verifier (the first among equals): the others shape a reward
but do not say whether an answer is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from espo_core.intervals import Estimate, estimate
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.randomness import derived_seed
from espo_core.rewards import heaviest, score_responses
from espo_core.rollout.engine import RolloutEngine, Sampling
from espo_core.verifiers import WeightedVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Answers held-out prompts and scores the answers. Evaluating changes nothing in a run."""

    policy: Policy
    engine: RolloutEngine
    verifiers: Sequence[WeightedVerifier]
    prompts: Sequence[Prompt]
    sampling: Sampling
    """The job's own; greedy evaluation takes its length limit."""
    seed: int

    def greedy(self) -> Estimate:
        """Accuracy of the likeliest answer."""
        return self._accuracy(replace(self.sampling, is_greedy=True, responses=1))

    def sampled(self, responses: int) -> Estimate:
        """Accuracy of answers drawn as in training, `responses` a prompt."""
        return self._accuracy(replace(self.sampling, responses=responses))

    def _accuracy(self, sampling: Sampling) -> Estimate:
        rollout = self.engine.generate(
            [prompt.tokens for prompt in self.prompts], sampling, seed=derived_seed(self.seed, "evaluation")
        )
        completions = decoded(self.policy, rollout.split())
        scored = score_responses(self.verifiers, self.prompts, completions).checked()
        judged = scored.accuracy(heaviest(self.verifiers))
        count = sampling.responses
        return estimate([judged[start : start + count] for start in range(0, len(judged), count)])


def decoded(policy: Policy, responses: list[list[int]]) -> list[str]:
    """The text of responses, without special tokens."""
    texts: list[str] = policy.tokenizer.batch_decode(
        responses, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts
