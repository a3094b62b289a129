"""A rollout batch as the learner reads it: sequences for the model, packed tokens for the objective.

Legend: R responses, G responses a prompt, T tokens, W columns, N nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.forest import Forest, Ints
from espo_core.logprobs import Targets
from espo_core.policy import Policy
from espo_core.report import Turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """Some responses with their prompts, as one forward pass reads them."""

    responses: Ints
    """In the order of the forest."""
    forest: Forest
    targets: Targets
    """Their tokens, in that order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experience:
    """Prompts with their responses, and what was known of them when they were sampled."""

    ids: Ints
    """[R, W] prompt and response, filled up on the right."""
    prompt_lengths: Ints
    """[R]."""
    lengths: Ints
    """[R] tokens of each response."""
    batch: TokenBatch
    """All R responses."""

    @property
    def device(self) -> torch.device:
        return self.batch.logp.device

    def forest(self, responses: Ints) -> Forest:
        """What the model must read of some responses: all but the last token."""
        widths = self.prompt_lengths[responses] + self.lengths[responses] - 1
        return Forest(self.ids[responses, : widths.max()], widths, device=self.device)

    def packed(self, responses: Ints) -> Packed:
        """Some responses, in an order of which equal beginnings are shared."""
        forest = self.forest(responses)
        responses = responses[forest.order]
        column = np.arange(forest.paths.shape[1]) - self.prompt_lengths[responses, None] + 1
        is_before = (column >= 0) & (column < self.lengths[responses, None])
        following = self.ids[responses, 1 : forest.paths.shape[1] + 1]
        targets = Targets(
            tokens=forest.on_device(following[is_before]),
            rows=forest.on_device(forest.paths[is_before]),
            lengths=self.lengths[responses].tolist(),
        )
        return Packed(responses=responses, forest=forest, targets=targets)

    def share(self, responses: Ints, *, rank: int, ranks: int) -> Ints:
        """What one of several ranks reads of some responses: as many nodes as the others, about."""
        if ranks == 1 or not len(responses):
            return responses
        forest = self.forest(responses)
        return responses[forest.order[forest.shares(ranks)[rank]]]

    def places(self, responses: Ints) -> Tensor:
        """[t] where in the batch the tokens of some responses stand."""
        starts = self.lengths.cumsum() - self.lengths
        spans = [np.arange(starts[one], starts[one] + self.lengths[one]) for one in responses]
        return torch.from_numpy(np.concatenate(spans)).to(self.device)


def make_experience(policy: Policy, turn: Turn) -> Experience:
    """What the learner reads of a step."""
    device, rollout = policy.device, turn.rollout
    lengths = rollout.lengths.cpu().numpy()
    group = torch.arange(len(lengths), device=device) // turn.group
    batch = TokenBatch(
        logp=rollout.logp,
        logp_old=rollout.logp,
        entropy_old=rollout.entropy,
        response=torch.repeat_interleave(torch.arange(len(group), device=device), rollout.lengths),
        advantage=turn.advantage.to(device),
        reward=turn.scored.rewards().to(device),
        verified=turn.scored.verified().to(device),
        group=group,
        weight=None if turn.weight is None else turn.weight.to(device),
        vocab_size=policy.vocab_size,
    )
    prompt_lengths = np.repeat([len(prompt.tokens) for prompt in turn.prompts], turn.group)
    return Experience(
        ids=_rows(turn, prompt_lengths, lengths), prompt_lengths=prompt_lengths, lengths=lengths, batch=batch
    )


def _rows(turn: Turn, prompt_lengths: Ints, lengths: Ints) -> Ints:
    """[R, W] prompt and response."""
    ids = np.zeros((len(lengths), int((prompt_lengths + lengths).max())), dtype=np.int64)
    for row, (start, response) in enumerate(zip(prompt_lengths, turn.rollout.split(), strict=True)):
        ids[row, :start] = turn.prompts[row // turn.group].tokens
        ids[row, start : start + len(response)] = response
    return ids


def micro_batches(experience: Experience, responses: Ints, *, max_tokens: int) -> Iterator[Packed]:
    """Yields all the responses in parts of at most `max_tokens` nodes; a longer one is a part of its own."""
    if not len(responses):
        return
    forest = experience.forest(responses)
    for part in forest.cut(max_tokens):
        yield experience.packed(responses[forest.order[part]])
