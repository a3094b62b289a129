"""Sampling and scoring, of which each rank does a share and knows the whole.

Legend: N prompts, G responses a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from espo_core.distributed.world import World
from espo_core.prompts import Prompt
from espo_core.rewards import Scored, score_responses
from espo_core.rollout.engine import Rollout, RolloutEngine, Sampling, Tokens
from espo_core.verifiers import Score, WeightedVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedEngine:
    """An engine whose ranks sample a share of the prompts each and give all the responses."""

    engine: RolloutEngine
    """Of this rank."""
    world: World
    device: torch.device
    ready: Callable[[], AbstractContextManager[None]]
    """The weights are whole on every rank for the time of the block."""

    def generate(
        self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int, first: int = 0
    ) -> Rollout:
        """G responses to each prompt, as one engine alone would draw them."""
        mine = self.world.share(len(prompts))
        begin = first + mine.start * sampling.responses
        with self.ready():
            drawn = (
                self.engine.generate(prompts[mine], sampling, seed=seed, first=begin)
                if mine.stop > mine.start
                else Rollout.empty(self.device)
            )
        return Rollout(**{one.name: self.world.joined(getattr(drawn, one.name)) for one in fields(Rollout)})


def shared_scores(
    world: World, verifiers: Sequence[WeightedVerifier], prompts: Sequence[Prompt], completions: list[str]
) -> Scored:
    """The scores of G completions of each prompt: verdicts that depend on the clock are the same on all."""
    if world.is_alone:
        return score_responses(verifiers, prompts, completions)
    mine = world.share(len(prompts))
    scores: list[Score] = []
    if mine.stop > mine.start:
        group = len(completions) // len(prompts)
        part = completions[mine.start * group : mine.stop * group]
        scores = score_responses(verifiers, prompts[mine], part).scores
    told = world.gathered([asdict(score) for score in scores])
    return Scored(completions=completions, scores=[_score(one) for part in told for one in part])


def _score(told: dict[str, Any]) -> Score:
    tuples = {name: tuple(told[name]) for name in ("unverified", "cut_off", "raised")}
    return Score(**{**told, **tuples})
