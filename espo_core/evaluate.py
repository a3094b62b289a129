"""Accuracy of a policy on held-out prompts: of its likeliest answer, and avg@n and pass@k of sampled ones.

An accuracy is the score of the reward's heaviest verifier (the first among equals): the others shape a reward
but do not say whether an answer is right.

Legend: n responses to a prompt, of which k are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from espo_core.distributed.sharing import shared_scores
from espo_core.distributed.world import ALONE, World
from espo_core.intervals import Estimate, estimate
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.randomness import derived_seed
from espo_core.report import held_out_metrics
from espo_core.rewards import Scored, heaviest
from espo_core.rollout.engine import RolloutEngine, Sampling
from espo_core.verifiers import Score, WeightedVerifier


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
    world: World = ALONE

    def greedy(self) -> Estimate:
        """Accuracy of the likeliest answer."""
        scored = self._scored(replace(self.sampling, is_greedy=True, responses=1))
        return estimate([[score] for score in scored.accuracy(heaviest(self.verifiers))])

    def sampled(self, responses: int) -> dict[str, Estimate]:
        """Accuracy of answers drawn as in training, `responses` a prompt: `sampled`, their mean (avg@n), and
        `pass_at_<k>`, the best of k, for k = 1, 2, 4 … n.

        A response without a verdict is as if it had not been drawn. A prompt with fewer than k others is left
        out of pass@k, and a figure of which no prompt is left is missing.
        """
        scored = self._scored(replace(self.sampling, responses=responses))
        scores = verified_scores(scored, heaviest(self.verifiers), responses)
        found = {"sampled": [one for one in scores if one]}
        for k in (1 << power for power in range(responses.bit_length())):
            found[f"pass_at_{k}"] = [[best_of(one, k)] for one in scores if len(one) >= k]
        return {name: estimate(one) for name, one in found.items() if one}

    def estimates(self, samples: int) -> dict[str, Estimate]:
        """`greedy`, and what `samples` sampled responses a prompt give where there are any."""
        return {"greedy": self.greedy()} | (self.sampled(samples) if samples else {})

    def metrics(self, samples: int) -> dict[str, float]:
        """The same figures as metrics, with their intervals."""
        return held_out_metrics(self.estimates(samples))

    def _scored(self, sampling: Sampling) -> Scored:
        rollout = self.engine.generate(
            [prompt.tokens for prompt in self.prompts], sampling, seed=derived_seed(self.seed, "evaluation")
        )
        completions = decoded(self.policy, rollout.split())
        scored = shared_scores(self.world, self.verifiers, self.prompts, completions)
        return scored.checked(prompts=len(self.prompts))


def best_of(scores: Sequence[float], k: int) -> float:
    """The expected best of k of these n ≥ k scores, drawn without replacement: an unbiased estimate of the
    best of k fresh responses.

    With c scores of 1 and the others 0 it is pass@k, 1 − C(n−c, k) / C(n, k) (arXiv:2107.03374v2, Eq. (1)).
    With s_1 ≥ … ≥ s_n it is s_1 − Σ_j q_j (s_j − s_{j+1}), where q_j = Π_{i<j} (1 − k / (n−i)) is the chance
    that none of the best j is among the k.
    """
    best = np.sort(scores)[::-1]
    left = len(best) - np.arange(len(best) - 1)
    missed = np.cumprod(np.maximum(0.0, 1 - k / left))
    return float(best[0] - missed @ (best[:-1] - best[1:]))


def verified_scores(scored: Scored, verifier: int, responses: int) -> list[list[float]]:
    """For each prompt the scores of its responses by one verifier, where that came to a verdict."""
    pairs = list(zip(scored.scores, scored.accuracy(verifier), strict=True))
    return [
        [mark for score, mark in pairs[start : start + responses] if _is_verified(score, verifier)]
        for start in range(0, len(pairs), responses)
    ]


def _is_verified(score: Score, verifier: int) -> bool:
    return list(score.parts)[verifier] not in score.unverified


def decoded(policy: Policy, responses: list[list[int]]) -> list[str]:
    """The text of responses, without special tokens."""
    texts: list[str] = policy.tokenizer.batch_decode(
        responses, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts
