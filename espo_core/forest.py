"""Token sequences as a forest: what several of them begin with is computed once.

The prompt of a group is encoded once for all its responses (Prefix Grouper, arXiv:2506.05433), and responses
that begin alike share those tokens too (tree training, arXiv:2511.00413). A node is a token with all that
precedes it, so sharing is exact: values and gradients are those of separate rows.

Sorted as strings are, each sequence shares its longest beginning with its neighbour: it owns the nodes after.

Legend: R sequences, W longest sequence, N nodes, Q queries and K keys of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espo_core.attention import attention
from espo_core.block_mask import BlockMask

Ints = NDArray[np.int64]

# Scores that a bucket must save to be worth its own kernels.
BUCKET_SCORES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bucket:
    """Sequences of similar length: each row asks for the nodes that it owns and reads its whole path."""

    queries: Tensor
    """[rows · Q] int64 nodes; filler beyond the row's own."""
    keys: Tensor
    """[rows · K] int64 nodes, from the first token on."""
    rows: int
    mask: Tensor | None
    """[rows, 1, Q, K] bool; None where every row owns its whole path, which is causal."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[rows · Q, heads, D]."""
        asked = _rows_of(query, self.queries, self.rows)
        read, given = _rows_of(key, self.keys, self.rows), _rows_of(value, self.keys, self.rows)
        return attention(asked, read, given, mask=self.mask, scaling=scaling).transpose(1, 2).flatten(0, 1)


class Forest:
    """Sequences in sorted order, as the nodes that they are made of."""

    def __init__(self, ids: Ints, lengths: Ints, *, device: torch.device) -> None:
        """The forest of the first `lengths` [R] tokens of the rows of `ids` [R, W]."""
        self.order = _sorted_rows(ids, lengths)
        """[R] the given sequence at each place."""
        ids, self._lengths = ids[self.order], lengths[self.order]
        self._shared = _shared_beginnings(ids, self._lengths)
        self._own = self._lengths - self._shared
        columns = np.arange(ids.shape[1])
        self.is_own = (columns >= self._shared[:, None]) & (columns < self._lengths[:, None])
        """[R, W] bool: the sequence is the first with this token at this place."""
        self._first = self._own.cumsum() - self._own
        self.paths = self._paths(columns)
        """[R, W] node of each token."""
        self._device = device
        self.ids = self.on_device(ids[self.is_own])
        """[N] tokens."""
        self.positions = self.on_device(np.nonzero(self.is_own)[1])
        """[N] how many tokens precede each."""

    @property
    def nodes(self) -> int:
        """N."""
        return int(self._own.sum())

    def cut(self, most: int) -> Iterator[slice]:
        """Yields runs of sequences that have at most `most` nodes each, or of one sequence that has more."""
        start, nodes = 0, 0
        for place, (own, length) in enumerate(zip(self._own.tolist(), self._lengths.tolist(), strict=True)):
            if place > start and nodes + own > most:
                yield slice(start, place)
                start, nodes = place, 0
            # The first of a run shares nothing: what precedes it is in another run.
            nodes += length if place == start else own
        yield slice(start, len(self._own))

    def shares(self, count: int) -> list[slice]:
        """Runs of sequences that have about as many nodes each, `count` of them; a run may be empty."""
        middle = self._own.cumsum() - self._own / 2
        ends = np.searchsorted(middle, self.nodes * np.arange(1, count) / count).tolist()
        return [slice(start, end) for start, end in pairwise([0, *ends, len(self._own)])]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[N, heads, D]: each node sees itself and those before it on its path."""
        if query.device.type == "cuda":
            return self._block_mask.attend(query, key, value, scaling)
        buckets, restore = self._buckets
        parts = [bucket.attend(query, key, value, scaling) for bucket in buckets]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).index_select(0, restore)

    def on_device(self, values: Ints | NDArray[np.bool_]) -> Tensor:
        """The same on the forest's device."""
        return torch.from_numpy(values).to(self._device, non_blocking=True)

    def _paths(self, columns: Ints) -> Ints:
        places = np.where(columns >= self._shared[:, None], np.arange(len(self._own))[:, None], 0)
        owner = np.maximum.accumulate(places, axis=0)
        paths: Ints = self._first[owner] + columns - self._shared[owner]
        return paths

    def ends(self) -> Ints:
        """[N] the node after the last that goes on from each."""
        columns = np.arange(self.paths.shape[1])
        leaves = np.where(columns >= self._shared[:, None], self._first[:, None], self.nodes)
        after = np.minimum.accumulate(leaves[::-1], axis=0)[::-1]
        ends: Ints = np.concatenate([after[1:], np.full_like(after[:1], self.nodes)])[self.is_own]
        return ends

    @cached_property
    def _block_mask(self) -> BlockMask:
        return BlockMask(self.on_device(self.ends()))

    @cached_property
    def _buckets(self) -> tuple[list[Bucket], Tensor]:
        """The buckets, and where in their outputs each node is found."""
        buckets, restore, offset = [], np.empty(self.nodes, dtype=np.int64), 0
        for rows in _alike(self._own, self._lengths):
            queries = int(self._own[rows].max())
            steps = np.arange(queries)
            is_mine = steps < self._own[rows, None]
            nodes = np.where(is_mine, self._first[rows, None] + steps, 0)
            restore[nodes[is_mine]] = offset + np.nonzero(is_mine.ravel())[0]
            buckets.append(self._bucket(rows, nodes))
            offset += nodes.size
        return buckets, self.on_device(restore)

    def _bucket(self, rows: Ints, nodes: Ints) -> Bucket:
        width = int(self._lengths[rows].max())
        columns = np.arange(width)
        keys = np.where(columns < self._lengths[rows, None], self.paths[rows, :width], 0)
        depth = self._shared[rows, None] + np.arange(nodes.shape[1])
        mask = columns <= depth[:, :, None] if self._shared[rows].any() else None
        return Bucket(
            queries=self.on_device(nodes.ravel()),
            keys=self.on_device(keys.ravel()),
            rows=len(rows),
            mask=None if mask is None else self.on_device(mask[:, None]),
        )


def _rows_of(values: Tensor, nodes: Tensor, rows: int) -> Tensor:
    """[rows, heads, n, D] of values [N, heads, D]."""
    return values.index_select(0, nodes).view(rows, -1, *values.shape[1:]).transpose(1, 2)


def _sorted_rows(ids: Ints, lengths: Ints) -> Ints:
    """[R] order in which what begins alike stands together, and a beginning before what goes on."""
    rows = ids.astype(">u4")
    keys = [row[:length].tobytes() for row, length in zip(rows, lengths.tolist(), strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _shared_beginnings(ids: Ints, lengths: Ints) -> Ints:
    """[R] tokens that each row has in common with the row before it."""
    limit = np.minimum(lengths[1:], lengths[:-1])
    is_other = (ids[1:] != ids[:-1]) | (np.arange(ids.shape[1]) >= limit[:, None])
    beyond = np.ones((len(limit), 1), dtype=bool)
    return np.concatenate([[0], np.concatenate([is_other, beyond], axis=1).argmax(axis=1)])


def _alike(own: Ints, lengths: Ints) -> Iterator[Ints]:
    """Yields the rows of each bucket, those that own most first; rows that own nothing ask for nothing."""
    order = np.argsort(-own, kind="stable")
    order = order[own[order] > 0]
    start, width = 0, int(lengths.max())
    for end in range(1, len(order)):
        saved = (len(order) - end) * int(own[order[start]] - own[order[end]]) * width
        if saved > BUCKET_SCORES:
            yield order[start:end]
            start = end
    yield order[start:]
