"""The native engine: batched decoding on any device with the very weights that are trained.

Each prompt is encoded once and its keys and values are copied to its G responses; finished responses leave
the batch. Prompts are padded on the left, so that all rows write the same column of the cache.

Legend: N prompts, G responses a prompt, B rows being decoded, P padded prompt length, L columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from espo_core.logprobs import entropy_of, tempered_logits
from espo_core.policy import Policy
from espo_core.randomness import Uniforms
from espo_core.rollout.cache import DecodeCache
from espo_core.rollout.choose import choose
from espo_core.rollout.engine import Rollout, Sampling, Tokens

# A wave has as many prompts as fit here with all their responses at the limit. Fixed on a CPU, so that a run
# does not depend on what else the machine holds in memory.
CPU_CACHE_BYTES = 1 << 30
GROWTH = 64  # columns; the cache grows by half its length, and at least by this
# Compacting copies the whole cache: it waits until a fifth of the rows is done.
COMPACT_BELOW = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeEngine:
    """Decodes with the policy itself."""

    policy: Policy

    @torch.no_grad()
    def generate(self, prompts: Sequence[Tokens], sampling: Sampling, *, seed: int) -> Rollout:
        """G responses to each prompt."""
        uniforms = Uniforms(seed=seed, rows=len(prompts) * sampling.responses)
        size = prompts_per_wave(self.policy, prompts, sampling)
        waves = [
            _Wave(self.policy, prompts[start : start + size], sampling).decode(uniforms, first=start)
            for start in range(0, len(prompts), size)
        ]
        return Rollout.joined(waves)


@dataclass(slots=True)
class _Record:
    """What was sampled, in the order of decoding: a tensor over the rows of the batch for each position."""

    rows: list[Tensor] = field(default_factory=list)
    is_open: list[Tensor] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    logp: list[Tensor] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)

    def add(self, **position: Tensor) -> None:
        """Notes the rows of one position, field by field."""
        for name, value in position.items():
            getattr(self, name).append(value)

    def packed(self, *, responses: int, is_truncated: Tensor) -> Rollout:
        """The responses end to end."""
        is_open = torch.cat(self.is_open)
        rows = torch.cat(self.rows)[is_open]
        order = rows.argsort(stable=True)
        tokens, logp, entropy = (
            torch.cat(part)[is_open][order] for part in (self.tokens, self.logp, self.entropy)
        )
        return Rollout(
            tokens=tokens,
            logp=logp,
            entropy=entropy,
            lengths=torch.bincount(rows, minlength=responses),
            is_truncated=is_truncated,
        )


class _Wave:
    """Prompts that are decoded together. `rows` are the responses that are still in the batch."""

    def __init__(self, policy: Policy, prompts: Sequence[Tokens], sampling: Sampling) -> None:
        self._policy, self._sampling = policy, sampling
        self._eos = torch.tensor(policy.eos_ids, device=policy.device)
        ids, mask = left_padded(prompts, policy)
        self._limit = ids.shape[1] + sampling.max_new_tokens
        self._cache = DecodeCache(policy.model.config.num_hidden_layers)
        self._length = mask.sum(1)
        self._mask = None if bool(mask.all()) else mask
        hidden = self._prefill(ids)
        self.rows = torch.arange(len(prompts) * sampling.responses, device=policy.device)
        self._keep(self.rows // sampling.responses)
        self.hidden = hidden[self.rows // sampling.responses]

    def decode(self, uniforms: Uniforms, *, first: int) -> Rollout:
        """The responses; `first` is the wave's first prompt among all."""
        record, responses = _Record(), len(self.rows)
        is_truncated = torch.ones(responses, dtype=torch.bool, device=self.rows.device)
        is_open = is_truncated[self.rows]
        for position in range(self._sampling.max_new_tokens):
            tokens, logp, entropy = self._sample(uniforms.column(position), first)
            record.add(rows=self.rows, is_open=is_open, tokens=tokens, logp=logp, entropy=entropy)
            is_open = is_open & ~torch.isin(tokens, self._eos)
            if not is_open.any() or position + 1 == self._sampling.max_new_tokens:
                break
            is_open = self._advance(tokens, is_open)
        is_truncated[:] = False
        is_truncated[self.rows[is_open]] = True
        return record.packed(responses=responses, is_truncated=is_truncated)

    def _prefill(self, ids: Tensor) -> Tensor:
        """[N, H] states after the prompts."""
        return self._policy.hidden(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=None if self._mask is None else (self._mask.cumsum(1) - 1).clamp_min(0),
            past_key_values=self._cache,
            use_cache=True,
        )[:, -1]

    def _sample(self, uniform: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """[B] tokens with their log-probability and the entropy before them."""
        logits = tempered_logits(self.hidden, self._policy.weight, self._sampling.temperature)
        logp = torch.log_softmax(logits, dim=-1)
        mine = uniform.to(self.rows.device)[self.rows + first * self._sampling.responses]
        tokens = choose(logp, mine, self._sampling)
        return tokens, logp.gather(1, tokens[:, None])[:, 0], entropy_of(logp)

    def _advance(self, tokens: Tensor, is_open: Tensor) -> Tensor:
        """Runs the last tokens through the model; returns which of the rows now in the batch are open."""
        if is_open.sum() < COMPACT_BELOW * len(is_open):
            kept = is_open.nonzero()[:, 0]
            self.rows, tokens, is_open = self.rows[kept], tokens[kept], is_open[kept]
            self._keep(kept)
        elif self._cache.is_full:
            self._keep(torch.arange(len(self.rows), device=self.rows.device))
        self.hidden = self._policy.hidden(
            input_ids=tokens[:, None],
            attention_mask=self._decode_mask(),
            position_ids=self._length[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )[:, -1]
        self._length = self._length + 1
        return is_open

    def _decode_mask(self) -> Tensor | None:
        """[B, 1, 1, L] columns that a row reads, the one being written included; None where it reads all."""
        if self._mask is None:
            return None
        return self._mask[:, None, None, : self._cache.length + 1]

    def _keep(self, rows: Tensor) -> None:
        """Makes the batch consist of these of its rows."""
        length = self._cache.length
        columns = min(self._limit, length + max(GROWTH, length // 2))
        self._cache.rebuild(rows, columns)
        self._length = self._length[rows]
        if self._mask is not None:
            known = self._mask[rows, :length]
            self._mask = torch.nn.functional.pad(known, (0, columns - length), value=True)


def left_padded(prompts: Sequence[Tokens], policy: Policy) -> tuple[Tensor, Tensor]:
    """[N, P] token ids and the bool mask of those that are not padding."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[policy.pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=policy.device), torch.tensor(mask, device=policy.device)


def prompts_per_wave(policy: Policy, prompts: Sequence[Tokens], sampling: Sampling) -> int:
    """How many prompts are decoded together, at least one."""
    config = policy.model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * size * policy.weight.element_size()
    columns = max(len(prompt) for prompt in prompts) + sampling.max_new_tokens
    fitting: int = _cache_bytes(policy.device) // (token_bytes * columns * sampling.responses)
    return max(1, fitting)


def _cache_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) // 2
    return CPU_CACHE_BYTES
