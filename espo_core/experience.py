"""A rollout batch as the learner reads it: token rows for the model, packed tokens for the objective.

Legend: R responses, G responses a prompt, T tokens, L columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espo_core.batch import TokenBatch
from espo_core.policy import Policy
from espo_core.report import Turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experience:
    """Prompts with their responses, and what was known of them when they were sampled."""

    ids: Tensor
    """[R, L] prompt and response, padded on the right. What follows a token never changes its logits."""
    prompt_lengths: Tensor
    """[R] int64."""
    lengths: Tensor
    """[R] int64 tokens of each response."""
    batch: TokenBatch
    """All R responses."""

    @property
    def widths(self) -> Tensor:
        """[R] positions that the model must read: all but the last token."""
        return self.prompt_lengths + self.lengths - 1

    def inputs(self, responses: Tensor) -> Tensor:
        """[B, l] model input of some responses."""
        return self.ids[responses, : int(self.widths[responses].max())]

    def positions(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Row in `inputs` and column before each token of some responses, [t] each."""
        lengths = self.lengths[responses]
        row = torch.repeat_interleave(torch.arange(len(responses), device=lengths.device), lengths)
        offset = torch.arange(len(row), device=lengths.device) - (lengths.cumsum(0) - lengths)[row]
        return row, self.prompt_lengths[responses][row] - 1 + offset

    def targets(self, responses: Tensor) -> Tensor:
        """[t] the tokens of some responses."""
        row, column = self.positions(responses)
        return self.ids[responses[row], column + 1]


def make_experience(policy: Policy, turn: Turn) -> Experience:
    """What the learner reads of a step."""
    device, rollout = policy.device, turn.rollout
    group = torch.arange(len(rollout.lengths), device=device) // turn.group
    starts = [torch.tensor(prompt.tokens, device=device) for prompt in turn.prompts]
    answers = torch.split(rollout.tokens, rollout.lengths.tolist())
    rows = [torch.cat([starts[index], answer]) for index, answer in zip(group.tolist(), answers, strict=True)]
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
    return Experience(
        ids=pad_sequence(rows, batch_first=True, padding_value=policy.pad_id),
        prompt_lengths=torch.tensor([len(start) for start in starts], device=device)[group],
        lengths=rollout.lengths,
        batch=batch,
    )


def micro_batches(experience: Experience, responses: Tensor, *, max_tokens: int) -> Iterator[Tensor]:
    """Yields parts of `responses` of similar length, longest first, each within `max_tokens` when padded.

    A response longer than that is a part of its own.
    """
    widths = experience.widths[responses]
    order = widths.argsort(descending=True, stable=True)
    ordered, sizes = responses[order], widths[order].tolist()
    start = 0
    while start < len(sizes):
        count = max(1, max_tokens // sizes[start])
        yield ordered[start : start + count]
        start += count
