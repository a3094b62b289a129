"""Attention as the layout of a batch has it, inside any model of the library that attends by name.

A forward pass hands its `layout` down to every layer. Models are loaded with this attention, for which the
library knows no mask and builds none.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "espo"


class Layout(Protocol):
    """Which token sees which."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[N, heads, D] from query [N, heads, D], key and value [N, key-value heads, D] of one layer."""
        ...


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend(  # noqa: PLR0913  the library's signature
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    layout: Layout | None = None,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """[B, L, heads, D], as the library wants it; without a layout every row is a plain causal sequence."""
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    if layout is None:
        out = attention(query, key, value, mask=_causal(query, key), scaling=scaling)
        return out.transpose(1, 2), None
    query, key, value = (one[0].transpose(0, 1) for one in (query, key, value))
    layer: int = module.layer_idx  # type: ignore[assignment]
    return layout.attend(layer, query, key, value, scaling)[None], None


def _causal(query: Tensor, key: Tensor) -> Tensor | None:
    """What the last queries of a sequence see of its keys."""
    asked, read = query.shape[2], key.shape[2]
    if asked == read:
        return None
    return torch.ones((1, 1, asked, read), dtype=torch.bool, device=query.device).tril(read - asked)


def attention(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, scaling: float) -> Tensor:
    """[B, heads, L, D] from [B, heads, L, D] and fewer or equally many key-value heads.

    Args:
        mask: bool, true where a query sees a key; without one both are the same causal sequence.
    """
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


AttentionInterface.register(ATTENTION, _attend)
