"""The native engine: batched decoding on any device with the very weights that are trained.

A row of the batch is a history, not a response: a prompt is one row until its responses differ, and those
that begin alike stay one row for as long as they do. Finished rows leave, and waiting prompts enter once
all their responses have room.

Legend: N prompts, G responses a prompt, M open responses, B rows being decoded, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from espo_core.forest import Forest, Ints
from espo_core.policy import Policy
from espo_core.randomness import Uniforms
from espo_core.rollout.cache import DecodeCache, Prefill, Shape, SharedPromptCache
from espo_core.rollout.choose import Choice
from espo_core.rollout.engine import Rollout, Sampling, Tokens
from espo_core.rollout.record import Record
from espo_core.rollout.stopping import Stopping

# Rows are decoded together as long as they fit here at the limit. Fixed on a CPU, so that a run does not
# depend on what else the machine holds in memory.
CPU_CACHE_BYTES = 1 << 30
# Compacting copies the whole cache: it waits until a fifth of the rows is done.
COMPACT_BELOW = 0.8
# A prompt of so many tokens is kept once for its rows; a shorter one is cheaper to copy than to look up.
SHARE_FROM = 64
LEAST_ROWS = 16


class NativeEngine:
    """Decodes with the policy itself."""

    def __init__(self, *, policy: Policy) -> None:
        self.policy = policy

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int, first: int = 0
    ) -> Rollout:
        """G responses to each prompt."""
        decoding = _Decoding(self.policy, sampling, prompts)
        return decoding.run(Uniforms(seed=seed), first=first)


class _Decoding:
    """Prompts on their way to responses."""

    def __init__(self, policy: Policy, sampling: Sampling, prompts: Sequence[Tokens]) -> None:
        self._policy, self._sampling, self._prompts = policy, sampling, prompts
        self._choice = Choice.of(policy, sampling)
        self._stopping = Stopping(policy, sampling)
        self._record = Record()
        longest = max(len(prompt) for prompt in prompts)
        shape = cache_shape(policy)
        self._room = rows_that_fit(shape, longest + sampling.max_new_tokens)
        kind = SharedPromptCache if longest >= SHARE_FROM else DecodeCache
        self._at_once = policy.fused if kind is DecodeCache and policy.decodes_at_once else None
        """The layers where a step is one compiled graph."""
        self._cache = kind(
            shape, tokens=sampling.max_new_tokens, padded=padded if self._at_once is not None else int
        )
        self._waiting = 0
        """The first prompt that has not entered."""
        self._hidden = torch.empty(0)
        """[B, H] state of each row after its last token."""
        self._response, self._row, self._taken = (np.zeros(0, dtype=np.int64) for _ in range(3))
        """[M] each: the response, its row, and how many tokens it has."""
        self._is_spread = False
        """No two open responses share a row, and so none will."""

    def run(self, uniforms: Uniforms, *, first: int) -> Rollout:
        """The responses; `first` is the number of the first among those that the uniform numbers are for."""
        self._admit()
        while len(self._response):
            uniform = torch.from_numpy(uniforms.at(self._response + first, self._taken))
            tokens, logp, entropy = self._choice(self._hidden, self._row, self._taken, uniform)
            self._record.add(response=self._response, tokens=tokens, logp=logp, entropy=entropy)
            self._advance(tokens.cpu().numpy())
        is_truncated = self._stopping.truncated(len(self._prompts) * self._sampling.responses)
        return self._record.packed(is_truncated, device=self._policy.device)

    def _advance(self, tokens: Ints) -> None:
        """Goes on with the responses that these tokens do not end, and with waiting prompts."""
        self._taken = self._taken + 1
        is_open = ~self._stopping.ended(self._response, self._taken, tokens)
        self._response, self._taken, tokens = self._response[is_open], self._taken[is_open], tokens[is_open]
        if len(tokens):
            self._step(self._branch(self._row[is_open], tokens), tokens)
        else:
            self._cache.keep(np.zeros(0, dtype=np.int64))
            self._hidden, self._row = self._hidden[:0], self._row[:0]
        self._admit()

    def _branch(self, rows: Ints, tokens: Ints) -> Ints:
        """[M] rows after each history has become one for each of its next tokens."""
        if not self._is_spread:
            histories, row_of = np.unique(rows * self._policy.vocab_size + tokens, return_inverse=True)
            parents = histories // self._policy.vocab_size
            rows = self._settled(parents)[row_of]
            self._is_spread = len(histories) == len(rows)
        used = np.zeros(self._cache.rows, dtype=bool)
        used[rows] = True
        if used.sum() < COMPACT_BELOW * len(used):
            self._cache.keep(used.nonzero()[0])
            rows = (used.cumsum() - 1)[rows]
        return rows

    def _settled(self, parents: Ints) -> Ints:
        """The row of each history that goes on from one of `parents`; the first stays in its parent's row."""
        is_further = np.concatenate([[False], parents[1:] == parents[:-1]])
        further = int(is_further.sum())
        place = parents.copy()
        place[is_further] = np.setdiff1d(np.arange(self._cache.rows + further), parents)[:further]
        self._cache.branch(parents[is_further], place[is_further])
        return place

    def _step(self, rows: Ints, tokens: Ints) -> None:
        """Runs the last tokens through the model."""
        rows_of_pass = self._cache.rows if self._at_once is None else padded(self._cache.rows)
        ids, positions = (np.zeros(rows_of_pass, dtype=np.int64) for _ in range(2))
        ids[rows] = tokens
        positions[rows] = self._taken - 1 + self._prompt_lengths[self._response // self._sampling.responses]
        self._cache.open_column()
        self._hidden = self._states(
            *(torch.from_numpy(one).to(self._policy.device) for one in (ids, positions))
        )
        self._row = rows

    def _states(self, ids: Tensor, positions: Tensor) -> Tensor:
        """[B, H] after one further token a row."""
        if self._at_once is None:
            return self._policy.states(ids, positions, self._cache)
        states, further = self._at_once.further(ids, positions, *self._cache.past())
        self._cache.write(further)
        return states[: self._cache.rows]

    def _admit(self) -> None:
        """Lets in the prompts whose responses all have room; at least one where nothing is being decoded."""
        group = self._sampling.responses
        fitting = (self._room - len(self._response)) // group
        count = min(len(self._prompts) - self._waiting, max(fitting, 0 if len(self._response) else 1))
        if count > 0:
            entered = np.arange(self._waiting, self._waiting + count)
            self._waiting += count
            self._is_spread = False
            rows = self._prefill(entered)
            self._response = np.concatenate(
                [self._response, (entered[:, None] * group + np.arange(group)).ravel()]
            )
            self._row = np.concatenate([self._row, rows.repeat(group)])
            self._taken = np.concatenate([self._taken, np.zeros(count * group, dtype=np.int64)])

    def _prefill(self, entered: Ints) -> Ints:
        """[n] rows of the prompts, which now have their states; equal prompts are one row."""
        given = [tuple(self._prompts[index]) for index in entered]
        distinct = list(dict.fromkeys(given))
        lengths = np.array([len(prompt) for prompt in distinct])
        ids = np.zeros((len(distinct), lengths.max()), dtype=np.int64)
        for row, prompt in enumerate(distinct):
            ids[row, : len(prompt)] = prompt
        forest = Forest(ids, lengths, device=self._policy.device)
        layout = Prefill(forest)
        states = self._policy.states(forest.ids, forest.positions, layout)
        paths = forest.paths[forest.order.argsort()]
        rows = self._cache.rows + np.arange(len(distinct))
        slots = self._cache.rows + (len(entered) * self._sampling.responses)
        self._cache.admit(layout.read(_to_the_right(paths, lengths)), lengths, slots=slots)
        last = forest.on_device(paths[np.arange(len(distinct)), lengths - 1])
        entering = states.index_select(0, last)
        self._hidden = torch.cat([self._hidden, entering]) if len(self._hidden) else entering
        place = dict(zip(distinct, rows.tolist(), strict=True))
        return np.array([place[prompt] for prompt in given])

    @cached_property
    def _prompt_lengths(self) -> Ints:
        return np.array([len(prompt) for prompt in self._prompts])


def padded(rows: int) -> int:
    """Rows of the compiled step for so many: 16, 24, 32, 48, 64 and so on, for each is compiled by itself."""
    if rows <= LEAST_ROWS:
        return LEAST_ROWS
    power = 1 << (rows - 1).bit_length()
    return power * 3 // 4 if rows <= power * 3 // 4 else power


def _to_the_right(paths: Ints, lengths: Ints) -> Ints:
    """[n, P] the same filled up on the left."""
    column = np.arange(paths.shape[1]) - (paths.shape[1] - lengths[:, None])
    return np.take_along_axis(paths, column.clip(0), axis=1)


def cache_shape(policy: Policy) -> Shape:
    """Size of a token's keys and values."""
    config = policy.model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers, heads=heads, size=size, dtype=policy.dtype, device=policy.device
    )


def rows_that_fit(shape: Shape, columns: int) -> int:
    """How many rows of so many columns are decoded together."""
    budget = CPU_CACHE_BYTES
    if shape.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(shape.device)
        budget = int(free) // 2
    return budget // (shape.token_bytes * columns)
