"""Prompts with their judged responses.

Legend: N prompts, G responses a prompt, R = N · G. Response r answers prompt r // G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espo_core.prompts import Prompt
from espo_core.rewards import Scored
from espo_core.rollout.engine import Rollout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """N prompts with G judged responses each."""

    prompts: Sequence[Prompt]
    rollout: Rollout
    scored: Scored

    @property
    def group(self) -> int:
        """G."""
        return len(self.scored.scores) // len(self.prompts)

    def has_contrast(self) -> Tensor:
        """[N] bool, on the CPU: true where the verified rewards of a prompt differ.

        With rewards of 0 and 1 these are the prompts with both outcomes, arXiv:2503.14476v2, Eq. (11).
        """
        rewards, verified = self.scored.rewards(), self.scored.verified()
        lowest = rewards.where(verified, torch.inf).view(-1, self.group).amin(1)
        highest = rewards.where(verified, -torch.inf).view(-1, self.group).amax(1)
        return highest > lowest

    def outcomes(self, verifier: int) -> tuple[Tensor, Tensor]:
        """[N] summed accuracy by one verifier, and [N] number, of the verified responses; on the CPU."""
        verified = self.scored.verified()
        right = torch.tensor(self.scored.accuracy(verifier)).where(verified, 0.0)
        return right.view(-1, self.group).sum(1), verified.float().view(-1, self.group).sum(1)

    def select(self, is_kept: Tensor) -> Answers:
        """Some of the prompts ([N] bool on the CPU, at least one of them), in their order."""
        responses = is_kept.repeat_interleave(self.group)
        chosen = zip(self.prompts, is_kept.tolist(), strict=True)
        return Answers(
            prompts=[prompt for prompt, is_mine in chosen if is_mine],
            rollout=self.rollout.select(responses.to(self.rollout.lengths.device)),
            scored=self.scored.select(responses.tolist()),
        )

    @staticmethod
    def joined(parts: Sequence[Answers]) -> Answers:
        """All prompts of several, in their order."""
        return Answers(
            prompts=[prompt for part in parts for prompt in part.prompts],
            rollout=Rollout.joined([part.rollout for part in parts]),
            scored=Scored.joined([part.scored for part in parts]),
        )
