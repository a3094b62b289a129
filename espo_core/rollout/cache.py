"""Keys and values of the histories that are being decoded.

All rows write the same column of a common buffer and differ in the column where they begin, so that rows can
enter at any time. Long prompts are kept once for all the rows that go on from them; short ones are copied.

Legend: B rows in use, S rows there is room for, C columns, N prompts, P longest prompt, K key-value heads,
D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from espo_core.forest import Forest, Ints

GROWTH = 64  # columns; the buffer grows by half its length, and at least by this
# Columns from which two products are faster on a CPU than the library's attention, for one query a row.
PRODUCTS_FROM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of the keys of one token: layers, key-value heads, head size, and their type and place."""

    layers: int
    heads: int
    size: int
    dtype: torch.dtype
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Bytes of the keys and values of one token."""
        return 2 * self.layers * self.heads * self.size * self.dtype.itemsize

    def zeros(self, rows: int, columns: int) -> Tensor:
        """[layers, 2, rows, K, columns, D]; finite where nothing is written, as a mask gives it weight 0."""
        shape = (self.layers, 2, rows, self.heads, columns, self.size)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


class Prefill:
    """The layout of prompts, which keeps the keys and values that pass through it."""

    def __init__(self, prompts: Forest) -> None:
        self._prompts = prompts
        self._kept: list[Tensor] = []

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[N, heads, D]."""
        self._kept.append(torch.stack([key, value]))
        return self._prompts.attend(layer, query, key, value, scaling)

    def read(self, paths: Ints) -> Tensor:
        """[layers, 2, n, K, P, D] of paths [n, P] through the forest."""
        nodes = self._prompts.on_device(paths.ravel())
        rows = torch.stack(self._kept).index_select(2, nodes)
        return rows.unflatten(2, paths.shape).transpose(3, 4)  # type: ignore[no-untyped-call,no-any-return]


class DecodeCache:
    """The layout of one further token a row."""

    def __init__(self, shape: Shape, *, tokens: int, padded: Callable[[int], int] = int) -> None:
        """A cache for rows to which at most `tokens` are added; its buffer has room for `padded` rows."""
        self._shape, self._tokens, self._padded = shape, tokens, padded
        self._store = shape.zeros(0, 0)
        self._start = np.zeros(0, dtype=np.int64)
        self.rows = 0
        """B."""
        self._column = 0
        self._mask: Tensor | None = None
        self._lowest = 0

    def admit(self, prefix: Tensor, lengths: Ints, *, slots: int) -> None:
        """Adds rows that begin with prefixes [layers, 2, n, K, P, D], filled up on the left; S is at least
        `slots` then."""
        width = prefix.shape[4]
        if slots > self._store.shape[2] or width > self._column:
            self._make_room(slots, width)
        rows = slice(self.rows, self.rows + prefix.shape[2])
        self._store[:, :, rows, :, self._column - width : self._column] = prefix
        self._start[rows] = self._column - lengths
        self.rows = rows.stop

    def branch(self, parents: Ints, slots: Ints) -> None:
        """Makes rows `slots` go on from the histories of rows `parents`."""
        if len(parents):
            filled = self._store[:, :, :, :, : self._column]
            filled[:, :, self._on_device(slots)] = filled[:, :, self._on_device(parents)]
            self._start[slots] = self._start[parents]
            self.rows = max(self.rows, int(slots.max()) + 1)

    def keep(self, rows: Ints) -> None:
        """Makes the batch consist of these of its rows."""
        kept = self._on_device(rows)
        filled = self._store[:, :, :, :, : self._column]
        filled[:, :, : len(rows)] = filled.index_select(2, kept)
        self._start[: len(rows)] = self._start[rows]
        self.rows = len(rows)

    def open_column(self) -> None:
        """Prepares the next token of every row."""
        if self._column == self._store.shape[4]:
            self._make_room(self._store.shape[2], 0)
        self._column += 1
        start = self._start[: self.rows]
        self._lowest = int(start.min())
        self._mask = None
        if int(start.max()) > self._lowest:
            columns = np.arange(self._lowest, self._column)
            self._mask = self._on_device(columns >= start[:, None])[:, None, None]

    def past(self) -> tuple[Tensor, Tensor]:
        """[layers, 2, b, K, c, D] what is before the open column, of B rows padded to b, and its bias
        [b, 1, 1, c]: 0, and −∞ where a row does not see."""
        rows = self._padded(self.rows)
        columns = np.arange(self._lowest, self._column - 1)
        is_hidden = columns < self._start[:rows, None]
        bias = torch.zeros(is_hidden.shape, dtype=self._shape.dtype).masked_fill(
            torch.from_numpy(is_hidden), -torch.inf
        )
        past = self._store[:, :, :rows, :, self._lowest : self._column - 1]
        return past, bias.to(self._shape.device, non_blocking=True)[:, None, None]

    def write(self, further: Tensor) -> None:
        """Fills the open column with [layers, 2, b, K, D]."""
        self._store[:, :, : further.shape[2], :, self._column - 1] = further

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[B, heads, D]."""
        keys, values = self.written(layer, key, value)
        return decode_attention(query, keys, values, mask=self._mask, scaling=scaling)

    def written(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, K, c, D] that rows see of themselves, with these [B, K, D] as the last."""
        store = self._store[layer]
        store[0, : self.rows, :, self._column - 1] = key
        store[1, : self.rows, :, self._column - 1] = value
        seen = store[:, : self.rows, :, self._lowest : self._column]
        return seen[0], seen[1]

    @property
    def mask(self) -> Tensor | None:
        """[B, 1, 1, c] bool, true where a row sees a column; None where all see all."""
        return self._mask

    def _make_room(self, slots: int, width: int) -> None:
        """Moves to a larger buffer in which at least `width` columns precede the next; drops those unread."""
        unread = int(self._start[: self.rows].min()) if self.rows else self._column
        filled = self._column - unread
        column = max(filled, width)
        store = self._shape.zeros(
            max(self._padded(slots), self._store.shape[2]),
            column + min(self._tokens, max(GROWTH, column // 2)),
        )
        kept = self._store[:, :, : self.rows, :, unread : self._column]
        store[:, :, : self.rows, :, column - filled : column] = kept
        start = np.zeros(store.shape[2], dtype=np.int64)
        start[: self.rows] = self._start[: self.rows] + column - self._column
        self._store, self._start, self._column = store, start, column

    def _on_device(self, values: Ints | NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(values).to(self._shape.device, non_blocking=True)


class SharedPromptCache(DecodeCache):
    """The same where each prompt is kept once, whatever the number of rows that go on from it."""

    def __init__(self, shape: Shape, *, tokens: int, padded: Callable[[int], int] = int) -> None:
        super().__init__(shape, tokens=tokens, padded=padded)
        self._prompts = shape.zeros(0, 0)
        """[layers, 2, N, K, P, D], filled up on the left."""
        self._lengths = np.zeros(0, dtype=np.int64)
        self._prompt_of = np.zeros(0, dtype=np.int64)
        self._seats: _Seats | None = None

    def admit(self, prefix: Tensor, lengths: Ints, *, slots: int) -> None:
        first, new = self.rows, np.arange(len(lengths)) + self._forget_unread()
        super().admit(prefix[:, :, :, :, :0], np.zeros_like(lengths), slots=slots)
        self._prompts = torch.cat([_wider(self._prompts, prefix), _wider(prefix, self._prompts)], dim=2)
        self._lengths = np.concatenate([self._lengths, lengths])
        self._prompt_of = np.concatenate([self._prompt_of[:first], new, np.zeros(slots, dtype=np.int64)])
        self._seats = None

    def branch(self, parents: Ints, slots: Ints) -> None:
        super().branch(parents, slots)
        if len(parents):
            self._prompt_of[slots] = self._prompt_of[parents]
            self._seats = None

    def keep(self, rows: Ints) -> None:
        super().keep(rows)
        self._prompt_of[: len(rows)] = self._prompt_of[rows]
        self._seats = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[B, heads, D]; scores of prompt and row are one softmax."""
        keys, values = self.written(layer, key, value)
        seats, prompts = self._seated(), self._prompts[layer]
        asked = grouped(query, keys.shape[1]) * scaling
        own = asked @ keys.transpose(2, 3)
        if self.mask is not None:
            own = own.masked_fill(~self.mask, -torch.inf)
        shared = seats.leave(seats.take(asked) @ prompts[0].transpose(2, 3) + seats.bias)
        weight = torch.softmax(torch.cat([shared, own], dim=3).float(), dim=3).to(query.dtype)
        of_prompt, of_row = weight.tensor_split([shared.shape[3]], dim=3)
        out = of_row @ values + seats.leave(seats.take(of_prompt) @ prompts[1])
        return out.reshape(query.shape)

    def _seated(self) -> _Seats:
        if self._seats is None:
            width = self._prompts.shape[4]
            hidden = np.arange(width) < width - self._lengths[:, None]
            bias = torch.zeros(hidden.shape, dtype=self._shape.dtype).masked_fill(
                torch.from_numpy(hidden), -torch.inf
            )
            self._seats = _Seats.of(self._prompt_of[: self.rows], bias.to(self._shape.device))
        return self._seats

    def _forget_unread(self) -> int:
        """Drops the prompts that no row goes on from; returns how many are left."""
        used, renumbered = np.unique(self._prompt_of[: self.rows], return_inverse=True)
        if len(used) < len(self._lengths):
            self._prompts = self._prompts.index_select(2, self._on_device(used))
            self._lengths = self._lengths[used]
            self._prompt_of[: self.rows] = renumbered
        return len(used)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seats:
    """Rows seated by prompt: N tables of equally many seats, some of them empty."""

    prompts: int
    row_at: Tensor
    """[N · seats] int64 row at each seat; row 0 at an empty one."""
    seat_of: Tensor
    """[B] int64."""
    bias: Tensor
    """[N, 1, 1, P] 0, and −∞ before the first token of a prompt."""

    @classmethod
    def of(cls, prompt_of: Ints, bias: Tensor) -> _Seats:
        order = np.argsort(prompt_of, kind="stable")
        counts = np.bincount(prompt_of, minlength=len(bias))
        place = np.arange(len(order)) - (counts.cumsum() - counts)[prompt_of[order]]
        seats = int(counts.max())
        seat_of = np.empty_like(order)
        seat_of[order] = prompt_of[order] * seats + place
        row_at = np.zeros(len(bias) * seats, dtype=np.int64)
        row_at[seat_of] = np.arange(len(seat_of))
        on_device = [torch.from_numpy(one).to(bias.device) for one in (row_at, seat_of)]
        return cls(prompts=len(bias), row_at=on_device[0], seat_of=on_device[1], bias=bias[:, None, None])

    def take(self, rows: Tensor) -> Tensor:
        """[N, K, seats · r, D] of [B, K, r, D]."""
        seated = rows.index_select(0, self.row_at).unflatten(0, (self.prompts, -1))  # type: ignore[no-untyped-call]
        return seated.transpose(1, 2).flatten(2, 3)  # type: ignore[no-any-return]

    def leave(self, seated: Tensor) -> Tensor:
        """[B, K, r, D] of [N, K, seats · r, D]."""
        seats = len(self.row_at) // self.prompts
        rows = seated.unflatten(2, (seats, -1)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-untyped-call]
        return rows.index_select(0, self.seat_of)  # type: ignore[no-any-return]


def _wider(store: Tensor, other: Tensor) -> Tensor:
    """The store filled up on the left to the width of the other."""
    missing = other.shape[4] - store.shape[4]
    return torch.nn.functional.pad(store, (0, 0, missing, 0)) if missing > 0 else store


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, scaling: float
) -> Tensor:
    """[B, heads, D] of one query [B, heads, D] a row, to keys and values [B, K, c, D]."""
    asked = grouped(query, keys.shape[1])
    if keys.device.type != "cpu" or keys.shape[2] < PRODUCTS_FROM:
        return scaled_dot_product_attention(asked, keys, values, attn_mask=mask, scale=scaling).reshape(
            query.shape
        )
    scores = (asked * scaling) @ keys.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (torch.softmax(scores.float(), dim=3).to(query.dtype) @ values).reshape(query.shape)


def grouped(query: Tensor, heads: int) -> Tensor:
    """[B, K, heads / K, D] queries beside the key-value head that they share."""
    return query.view(query.shape[0], heads, -1, query.shape[2])
