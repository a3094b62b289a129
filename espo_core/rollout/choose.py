"""The choice of the next token from its tempered distribution.

Legend: M responses, B rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espo_core.forest import Ints
from espo_core.logprobs import Head
from espo_core.policy import Policy
from espo_core.rollout.engine import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Draws the next token of each response from the state of its row."""

    head: Head
    sampling: Sampling
    ends: Tensor
    """Tokens that end a response."""

    @classmethod
    def of(cls, policy: Policy, sampling: Sampling) -> Choice:
        ends = torch.tensor(policy.eos_ids, device=policy.device)
        return cls(head=policy.head(sampling.temperature), sampling=sampling, ends=ends)

    def __call__(
        self, hidden: Tensor, row: Ints, taken: Ints, uniform: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[M] tokens, their log-probability under the whole distribution, and its entropy in nats.

        Args:
            hidden: [B, H].
            row: [M] of each response.
            taken: [M] tokens that each has.
            uniform: [M] float64 in [0, 1).
        """
        logp = torch.log_softmax(self.head.logits(hidden), dim=-1)
        entropy = -torch.linalg.vecdot(logp.exp(), logp.clamp_min(torch.finfo(logp.dtype).min))
        if not np.array_equal(row, np.arange(len(hidden))):
            place = torch.from_numpy(row).to(hidden.device)
            logp, entropy = logp.index_select(0, place), entropy.index_select(0, place)
        allowed = self._without_early_ends(logp, taken)
        tokens = choose(allowed, uniform.to(hidden.device), self.sampling)
        return tokens, logp.gather(1, tokens[:, None])[:, 0], entropy

    def _without_early_ends(self, logp: Tensor, taken: Ints) -> Tensor:
        is_early = taken < self.sampling.min_new_tokens
        if is_early.all():
            return logp.index_fill(1, self.ends, -torch.inf)
        if not is_early.any():
            return logp
        early = torch.from_numpy(is_early.nonzero()[0]).to(logp.device)
        allowed = logp.clone()
        allowed[early[:, None], self.ends] = -torch.inf
        return allowed


def choose(logp: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """[B] int64 tokens drawn from log-probabilities [B, V] by one uniform number a row, [B] in [0, 1).

    The token is the first whose cumulative probability exceeds u, so one with probability 0 is never drawn.
    """
    if sampling.is_greedy:
        return logp.argmax(-1)
    cumulative = truncated(logp, sampling).double().exp().cumsum(-1)
    total = cumulative[:, -1:]
    # Rounding may lift u · total to the total itself, where no token would be found.
    threshold = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    # A model that has diverged gives NaN, which is found nowhere; the trainer notices by the log-probability.
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp_max(logp.shape[1] - 1)


def truncated(logp: Tensor, sampling: Sampling) -> Tensor:
    """[B, V] log-probabilities with −∞ outside the top-k tokens and the nucleus; not normalised again.

    The nucleus is the smallest set of likeliest tokens whose probability reaches top-p.
    """
    if 0 < sampling.top_k < logp.shape[1]:
        least = logp.topk(sampling.top_k, dim=-1).values[:, -1:]
        logp = logp.masked_fill(logp < least, -torch.inf)
    if sampling.top_p < 1:
        ranked, index = logp.sort(dim=-1, descending=True, stable=True)
        probability = ranked.exp()
        before = probability.cumsum(-1) - probability
        is_outside = before >= sampling.top_p * probability.sum(-1, keepdim=True)
        logp = logp.masked_fill(torch.zeros_like(is_outside).scatter(1, index, is_outside), -torch.inf)
    return logp
