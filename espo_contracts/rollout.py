"""The part of a job specification that says how responses are sampled."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from espo_contracts.part import Part

StopString = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Curriculum(Part):
    """Prompts are drawn by how often they were solved so far, instead of each once a pass."""

    favour: Literal["contrast", "difficulty"] = "contrast"
    """With p the rate of success, a prompt's chance is in proportion to p (1 - p), or to (1 - p) / p, which
    prefers the hardest."""
    memory: Annotated[float, Field(ge=0, le=1)] = 0.5
    """What earlier answers to a prompt count for when it is answered again; 1 forgets nothing."""


class Pruning(Part):
    """Of the responses with the smallest advantages some are dropped at random before the update, and those
    that stay count more, so that the expected gradient is the same (arXiv 2603.04135)."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the responses with an advantage that may be dropped, those with the smallest."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Chance of each of them to be dropped."""


class Overlong(Part):
    """A penalty on long responses (arXiv 2503.14476, Eq. 13), in the reward that is trained on; accuracies
    leave it out."""

    tokens: Annotated[int, Field(ge=1, le=131_072)]
    """Length before `max_new_tokens` over which the penalty grows from 0 to 1."""
    weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """The reward falls by weight x penalty."""


class MismatchCorrection(Part):
    """Where the sampler computes in other precision than the trainer: the old log-probabilities are computed
    again by the trainer, and a token counts min(pi_old / pi_sampler, cap) times."""

    cap: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Largest weight of a token."""


class RolloutSpec(Part):
    """How responses are sampled from the current policy."""

    engine: Literal["native", "vllm"] = "native"
    """What samples: the trainer's own engine on any device, or vLLM where the worker has it."""
    group_size: Annotated[int, Field(ge=2, le=1024)] = 8
    """Responses per prompt, G."""
    prompts_per_step: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Prompts per rollout batch."""
    max_new_tokens: Annotated[int, Field(ge=1, le=131_072)] = 256
    """A response that reaches this is truncated."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Sampling temperature; the trained policy is the tempered one."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; 1 samples from the whole policy."""
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Sample among the k likeliest tokens; 0 is off."""
    min_new_tokens: Annotated[int, Field(ge=0, le=131_072)] = 0
    """A response does not end before it has this many tokens."""
    stop: Annotated[list[StopString], Field(max_length=16)] = Field(default_factory=list)
    """Strings that end a response, which keeps them."""
    max_staleness: Annotated[int, Field(ge=0, le=8)] = 0
    """Steps by which the policy that samples may be older than the one that is trained: rollouts of the next
    steps are made while this one updates. 0 takes turns."""
    mismatch_correction: MismatchCorrection | None = None
    """Unset, the sampler's own log-probabilities are the old policy."""
    dynamic_sampling: bool | None = None
    """Train only on prompts whose responses differ in reward, and ask others in place of those that are
    always or never solved (arXiv 2503.14476). Unset: as the algorithm's paper has it."""
    max_sampling_rounds: Annotated[int, Field(ge=1, le=64)] = 4
    """Rounds of prompts that dynamic sampling may take in a step, each at most `prompts_per_step`; then the
    step trains on what there is."""
    curriculum: Curriculum | None = None
    """Draw prompts by their difficulty; unset, each is asked once a pass in a seeded order."""
    pruning: Pruning | None = None
    """Update on fewer responses than were sampled; unset, on all."""
    overlong: Overlong | None = None
    """Penalise responses that come near `max_new_tokens`; unset, a response is free to use them all."""

    @model_validator(mode="after")
    def _within_the_limit(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens ({self.min_new_tokens}) must not exceed max_new_tokens "
                f"({self.max_new_tokens})"
            )
        if self.overlong is not None and self.overlong.tokens > self.max_new_tokens:
            raise ValueError(
                f"overlong.tokens ({self.overlong.tokens}) must not exceed max_new_tokens "
                f"({self.max_new_tokens})"
            )
        return self
