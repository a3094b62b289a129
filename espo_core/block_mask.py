"""Attention within a forest on a GPU: one kernel that passes over the blocks in which nothing is seen.

Nodes are numbered so that what goes on from a node follows it without a gap: a node sees those before it
whose last descendant does not come before it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention


class BlockMask:
    """The mask of N nodes, by where the descendants of each end."""

    def __init__(self, ends: Tensor) -> None:
        def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (query < ends[key])

        self._mask: Any = create_block_mask(
            sees, B=None, H=None, Q_LEN=len(ends), KV_LEN=len(ends), device=ends.device
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[N, heads, D] from query [N, heads, D], key and value [N, key-value heads, D]."""
        kernel: Any = _compiled() if query.device.type == "cuda" else flex_attention
        out: Tensor = kernel(
            *(one.transpose(0, 1)[None] for one in (query, key, value)),
            block_mask=self._mask,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return out[0].transpose(0, 1)


@cache
def _compiled() -> Callable[..., Any]:
    """Uncompiled, it computes every score."""
    return torch.compile(flex_attention, dynamic=True)
