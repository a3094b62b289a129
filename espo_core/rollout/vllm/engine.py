"""Rollouts by vLLM with the weights that are trained.

vLLM tells the log-probability of a token by the distribution that it was drawn from, after temperature,
top-p, top-k and a shortest length (its `processed_logprobs`), and no entropy. So the entropies of a rollout
are NaN, and the learner computes them before the first update, as well as the log-probabilities where the job
corrects the mismatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedModel

from espo_core.policy import Policy
from espo_core.rollout.engine import Rollout, Sampling, Tokens
from espo_core.rollout.vllm.wording import Answer, Question, questions, rollout_of


class Backend(Protocol):
    """A vLLM that can be asked."""

    def load(self, model: PreTrainedModel) -> None:
        """Gives it the weights of a model of the kind that it runs."""
        ...

    def answers(self, asked: Sequence[Question]) -> list[list[Answer]]:
        """The responses to each prompt.

        Raises:
            EspoError: there is no answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmEngine:
    """Asks a vLLM that follows the policy."""

    policy: Policy
    backend: Backend

    def generate(
        self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int, first: int = 0
    ) -> Rollout:
        """G responses to each prompt, by the weights of this moment."""
        self._synchronise()
        asked = questions(prompts, sampling, ends=self.policy.eos_ids, seed=seed, first=first)
        answers = self.backend.answers(asked)
        return rollout_of(answers, sampling, vocab_size=self.policy.vocab_size, device=self.policy.device)

    def _synchronise(self) -> None:
        """Gives vLLM the policy's weights, adapters merged in.

        Always: nothing cheap tells whether they changed, for a fused optimiser leaves torch's count of a
        tensor's changes as it was.
        """
        adapters = self.policy.adapters
        self.backend.load(self.policy.model if adapters is None else adapters.merged())
