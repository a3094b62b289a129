"""The choice of the next token from its tempered distribution.

Legend: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espo_core.rollout.engine import Sampling


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
