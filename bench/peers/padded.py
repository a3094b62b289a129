"""The padded tensors that TRL and verl read, made of a TokenBatch.

Legend: T tokens, R responses, L tokens of the longest response.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from espo_core.batch import TokenBatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Padded:
    """The numbers of a TokenBatch, a row a response."""

    logp: Tensor
    """[R, L] a leaf that takes a gradient; 0 in the padding, as are the others."""
    logp_old: Tensor
    """[R, L]"""
    logp_ref: Tensor
    """[R, L]"""
    mask: Tensor
    """[R, L] int64, 1 at a token and 0 in the padding."""
    advantage: Tensor
    """[R], or [R, L] where the tokens of a response differ"""

    def packed(self, values: Tensor) -> Tensor:
        """[T] of values [R, L]."""
        return values[self.mask.bool()]


def padded(batch: TokenBatch) -> Padded:
    """The padded equivalent of a batch, which must hold `logp_ref`."""
    assert batch.logp_ref is not None
    lengths = batch.lengths()
    is_token = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]

    def rows(values: Tensor) -> Tensor:
        return values.new_zeros(is_token.shape).masked_scatter(is_token, values)

    return Padded(
        logp=rows(batch.logp.detach()).requires_grad_(),
        logp_old=rows(batch.logp_old),
        logp_ref=rows(batch.logp_ref),
        mask=is_token.to(torch.int64),
        advantage=batch.advantage if batch.credit is None else rows(batch.credit),
    )
