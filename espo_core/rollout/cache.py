"""Keys and values of the tokens decoded so far, in buffers that are allocated ahead of need.

Legend: B rows, L columns, K key-value heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """Keys and values [B, K, L, D] of one layer; `length` columns are filled."""

    is_sliding = False
    is_compileable = False
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = key_states, value_states
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The filled columns after writing these."""
        start, self.length = self.length, self.length + key_states.shape[2]
        if start == 0:
            self.lazy_initialization(key_states, value_states)
            return key_states, value_states
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def rebuild(self, rows: Tensor, columns: int) -> None:
        self.keys = _rebuilt(self.keys, rows, self.length, columns)
        self.values = _rebuilt(self.values, rows, self.length, columns)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


class DecodeCache(Cache):
    """Keys and values of a batch in which all rows are equally long."""

    def __init__(self, layers: int) -> None:
        self._own = [_Layer() for _ in range(layers)]
        super().__init__(layers=list(self._own))

    @property
    def length(self) -> int:
        """Filled columns."""
        return self._own[0].length

    @property
    def is_full(self) -> bool:
        """Another column needs a rebuild."""
        return self.length == self._own[0].keys.shape[2]

    def rebuild(self, rows: Tensor, columns: int) -> None:
        """Makes the batch the given of its rows ([B] int64, repeats allowed), with room for `columns`."""
        for layer in self._own:
            layer.rebuild(rows, columns)


def _rebuilt(buffer: Tensor, rows: Tensor, length: int, columns: int) -> Tensor:
    _, heads, _, size = buffer.shape
    fresh = torch.empty((len(rows), heads, columns, size), dtype=buffer.dtype, device=buffer.device)
    torch.index_select(buffer[:, :, :length], 0, rows, out=fresh[:, :, :length])
    return fresh
