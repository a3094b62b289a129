"""The rollout of a step: prompts, responses and scores, in bounded rounds.

What a step gathers follows from its number, the seed, the weights that sample and what the prompt sampler
heard of earlier steps. A gatherer tells nobody anything, so that it may work in any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espo_contracts.rollout import RolloutSpec
from espo_core.answers import Answers
from espo_core.distributed.sharing import shared_scores
from espo_core.distributed.world import ALONE, World
from espo_core.errors import NonFiniteLossError
from espo_core.evaluate import decoded
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.randomness import derived_seed
from espo_core.rewards import Scored, heaviest
from espo_core.rollout.engine import Rollout, RolloutEngine, Sampling
from espo_core.samplers import PromptSampler
from espo_core.samplers.dynamic import Gathered, Gathering
from espo_core.verifiers import Score, WeightedVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Asks prompts and judges the responses."""

    policy: Policy
    """Samples, by the engine, and reads the responses as text."""
    engine: RolloutEngine
    prompts: Sequence[Prompt]
    """All that may be asked."""
    sampler: PromptSampler
    """Chooses among them."""
    verifiers: Sequence[WeightedVerifier]
    spec: RolloutSpec
    sampling: Sampling
    seed: int
    is_dynamic: bool
    """Prompts without contrast are passed over."""
    world: World = ALONE

    def gather(self, step: int) -> Gathered:
        """Rounds of prompts, responses and scores, until enough prompts are worth training on.

        Raises:
            NonFiniteLossError: a log-probability is not a number.
            VerifierError: no response could be judged.
        """
        gathering = self._gathering()
        for number in range(self.spec.max_sampling_rounds):
            places = self.sampler.next(gathering.missing)
            answers = self._answered([self.prompts[place] for place in places], step, number)
            right, judged = answers.outcomes(heaviest(self.verifiers))
            self.sampler.observe(places, right=right, judged=judged)
            gathering.add(places, answers)
            if not gathering.missing:
                break
        gathered = gathering.result()
        gathered.sampled.scored.checked(prompts=len(gathered.sampled.prompts))
        return gathered

    def gathered_before(
        self, rollout: Rollout, scores: list[Score], *, places: list[int], rounds: int
    ) -> Gathered:
        """What was gathered of the prompts at these places, from what a checkpoint keeps of it."""
        scored = Scored(completions=decoded(self.policy, rollout.split()), scores=scores)
        prompts = [self.prompts[place] for place in places]
        gathering = self._gathering()
        gathering.add(places, Answers(prompts=prompts, rollout=rollout, scored=scored))
        return gathering.result(rounds=rounds)

    def _gathering(self) -> Gathering:
        return Gathering(wanted=self.spec.prompts_per_step, is_dynamic=self.is_dynamic)

    def _answered(self, prompts: Sequence[Prompt], step: int, number: int) -> Answers:
        rollout = self._sampled(prompts, step, number)
        scored = shared_scores(self.world, self.verifiers, prompts, decoded(self.policy, rollout.split()))
        return Answers(prompts=prompts, rollout=rollout, scored=scored)

    def _sampled(self, prompts: Sequence[Prompt], step: int, number: int) -> Rollout:
        """The responses of one round of a step."""
        purpose = ("rollout", step, number) if number else ("rollout", step)
        rollout = self.engine.generate(
            [prompt.tokens for prompt in prompts], self.sampling, seed=derived_seed(self.seed, *purpose)
        )
        if not rollout.logp.isfinite().all():
            raise NonFiniteLossError(step)
        return rollout
