"""Random batches with everything that an objective may read.

Legend: T tokens, R responses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives import advantages


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many responses there are, of how many tokens."""

    responses: int
    group: int
    """Responses to one prompt."""
    shortest: int
    longest: int
    vocab_size: int = 32_000


def random_batch(size: Size, *, seed: int, dtype: torch.dtype, spread: float) -> TokenBatch:
    """A batch of lengths uniform between the bounds, with advantages of both signs and some of 0.

    `spread` is the standard deviation of log π_θ − log π_old.
    """
    source = torch.Generator().manual_seed(seed)
    lengths = torch.randint(size.shortest, size.longest + 1, (size.responses,), generator=source)
    tokens = int(lengths.sum())

    def normal(scale: float) -> Tensor:
        return (scale * torch.randn(tokens, generator=source)).to(dtype)

    logp_old = -torch.empty(tokens).exponential_(generator=source).to(dtype)
    reward = torch.rand(size.responses, generator=source).round().to(dtype)
    group = torch.arange(size.responses) // size.group
    verified = torch.rand(size.responses, generator=source) > 0.05
    entropy = torch.empty(tokens).exponential_(generator=source).to(dtype)
    return TokenBatch(
        logp=(logp_old + normal(spread)).requires_grad_(),
        logp_old=logp_old,
        logp_ref=logp_old + normal(spread),
        entropy_old=entropy,
        entropy=entropy.clone().requires_grad_(),
        response=torch.repeat_interleave(lengths),
        advantage=advantages(reward, verified, group),
        group=group,
        reward=reward,
        vocab_size=size.vocab_size,
    )
