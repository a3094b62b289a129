"""How many tokens a job samples and trains on, as far as its document and its model's and data's facts tell.

Responses are taken to be as long as they may get, prompts as long as they usually are. Where several devices
share a step it is what one of them does.

Legend: G responses a prompt, P and R tokens of a prompt and of a response.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from api.catalogue.models import ModelFacts
from espo_contracts.job import JobSpec
from espo_contracts.spec import DataSpec

# Smaller vocabularies are of characters. Of others a token is four characters of English, and of a data row,
# which also holds names and an answer, three.
_CHARACTER_VOCABULARY = 1000
_CHARACTERS_A_TOKEN = 3
_UNKNOWN_PROMPT_CHARACTERS = 600
# Attention over rows of different lengths leaves at most so many scores empty before it is cut in two.
_EMPTY_SCORES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What is known of a job's data without reading it."""

    characters: float | None = None
    """Of a usual prompt, or of a row of an uploaded file."""
    rows: int | None = None
    """Of an uploaded file, or held out by a generated task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Sizes of a step."""

    prompt: int
    """P."""
    response: int
    """R."""
    group: int
    """G."""
    prompts: int
    """Of a rollout batch."""
    rounds: int
    """Rollout batches that a step may sample."""
    held_out: int
    """Prompts of an evaluation."""
    samples: int
    """Responses to each of them that are drawn at once."""
    groups: int
    """Of a forward pass of the update."""

    @property
    def batches(self) -> tuple[tuple[int, int], ...]:
        """Prompts, and responses to each, that are sampled together: of a rollout, and of evaluations."""
        return (self.prompts, self.group), (self.held_out, 1), (self.held_out, self.samples)

    @property
    def trained(self) -> int:
        """Positions that a step trains on; a prompt is encoded once for its responses."""
        return self.prompts * self._of_group

    @property
    def nodes(self) -> int:
        """Positions of a forward pass of the update."""
        return self.groups * self._of_group

    @property
    def paths(self) -> int:
        """Keys that its responses read: each reads its whole prompt."""
        return self.groups * self.group * (self.prompt + self.response)

    @property
    def queries(self) -> int:
        """Its positions as attention takes them, filled up to rows of equal length."""
        return self.nodes + min(self.paths - self.nodes, _EMPTY_SCORES // (self.prompt + self.response))

    @property
    def _of_group(self) -> int:
        return self.prompt + self.group * self.response


def workload(spec: JobSpec, facts: ModelFacts | None, data: DataFacts) -> Workload:
    """The sizes of a job."""
    rollout, optimiser, devices = spec.rollout, spec.optimiser, spec.resources.devices
    prompt = _prompt_tokens(spec.data, facts, data)
    of_group = prompt + rollout.group_size * rollout.max_new_tokens
    groups = math.ceil(rollout.prompts_per_step / optimiser.mini_batches / devices)
    return Workload(
        prompt=prompt,
        response=rollout.max_new_tokens,
        group=rollout.group_size,
        prompts=math.ceil(rollout.prompts_per_step / devices),
        rounds=rollout.max_sampling_rounds if rollout.dynamic_sampling else 1,
        held_out=math.ceil(_held_out(spec.data, data) / devices),
        samples=max(1, spec.schedule.evaluate_samples),
        groups=min(groups, max(1, optimiser.micro_batch_tokens // of_group)),
    )


def _prompt_tokens(spec: DataSpec, facts: ModelFacts | None, data: DataFacts) -> int:
    characters = data.characters or _UNKNOWN_PROMPT_CHARACTERS
    is_of_characters = facts is not None and (facts.vocabulary or math.inf) < _CHARACTER_VOCABULARY
    tokens = characters if is_of_characters else characters / _CHARACTERS_A_TOKEN
    return min(spec.max_prompt_tokens, math.ceil(tokens))


def _held_out(spec: DataSpec, data: DataFacts) -> int:
    """Held-out prompts."""
    most, rows = spec.held_out.max_prompts, data.rows
    if rows is None:
        return most
    return min(most, rows if spec.task is not None else math.ceil(spec.held_out.fraction * rows))
