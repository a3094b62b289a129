"""A small model written out for sampling: fewer and larger kernels than its modules make.

A step of decoding a small model is mostly the start of kernels. Here the projections that read the same input
are one product, on copies of the weights that are made anew for each rollout; large models gain nothing by it
and sample by their own modules.

Legend: N tokens, H hidden size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espo_core.attention import Layout
from espo_core.forest import Forest
from espo_core.policy import Policy

LARGEST_COPY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Projection:
    """Linear layers of the same input as one product, with their adapters and the norm before them."""

    weight: Tensor
    """[in, out]."""
    bias: Tensor | None

    @classmethod
    def of(cls, policy: Policy, *layers: nn.Module, norm: nn.Module | None = None) -> _Projection:
        adapters = policy.adapters
        weights = [one.weight if adapters is None else adapters.weight_of(one) for one in layers]
        weight = torch.cat(weights)  # type: ignore[arg-type]
        biases = [one.bias for one in layers]
        return cls(
            weight=(weight if norm is None else weight * norm.weight).T,  # type: ignore[operator]
            bias=None if biases[0] is None else torch.cat(biases),  # type: ignore[arg-type]
        )

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight if self.bias is None else torch.addmm(self.bias, inputs, self.weight)

    def added(self, states: Tensor, inputs: Tensor) -> Tensor:
        """The states plus this."""
        states = states if self.bias is None else states + self.bias
        return torch.addmm(states, inputs, self.weight)


def _normed(states: Tensor, epsilon: float) -> Tensor:
    """The states over their root mean square."""
    wide, size = states.float(), states.shape[-1]
    squared = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
    scale = squared.add_(epsilon * size).rsqrt_().mul_(math.sqrt(size))
    normed: Tensor = (wide * scale).to(states.dtype)
    return normed


class _Layer:
    """A decoder layer as Llama, Mistral, Qwen2 and Qwen3 have it."""

    def __init__(self, policy: Policy, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        before, between = layer.input_layernorm, layer.post_attention_layernorm
        self._epsilon: float = before.variance_epsilon
        self._index, self._size, self._scaling = attention.layer_idx, attention.head_dim, attention.scaling
        self._heads = attention.q_proj.weight.shape[0] // self._size
        self._rotated = self._heads + attention.k_proj.weight.shape[0] // self._size
        self._read = _Projection.of(policy, attention.q_proj, attention.k_proj, attention.v_proj, norm=before)
        self._out = _Projection.of(policy, attention.o_proj)
        self._gate = _Projection.of(policy, mlp.gate_proj, mlp.up_proj, norm=between)
        self._down = _Projection.of(policy, mlp.down_proj)
        self._act = mlp.act_fn
        self._norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]

    def __call__(self, states: Tensor, cos: Tensor, sin: Tensor, layout: Layout) -> Tensor:
        read = self._read(_normed(states, self._epsilon)).view(len(states), -1, self._size)
        rotated = self._rotate(read[:, : self._rotated], cos, sin)
        query, key = rotated[:, : self._heads], rotated[:, self._heads :]
        seen = layout.attend(self._index, query, key, read[:, self._rotated :], self._scaling)
        states = self._out.added(states, seen.flatten(1))
        gate, up = self._gate(_normed(states, self._epsilon)).chunk(2, dim=-1)
        return self._down.added(states, self._act(gate) * up)

    def _rotate(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary position embedding of queries and keys; `sin` has the sign of the half that comes first."""
        if self._norms:
            query, key = heads[:, : self._heads], heads[:, self._heads :]
            heads = torch.cat([self._norms[0](query), self._norms[1](key)], dim=1)
        return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, dims=-1), sin)


class FusedModel:
    """The layers of a model in this form, for positions below a limit."""

    def __init__(self, policy: Policy, *, positions: int) -> None:
        model: Any = policy.model.base_model
        self._embedding, self._last = model.embed_tokens.weight, model.norm
        self._cos, self._sin = _rotations(model, policy, positions)
        self._layers = [_Layer(policy, layer) for layer in model.layers]

    def states(self, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """[N, H] last hidden states; arguments as of `Policy.states`."""
        states = self._embedding.index_select(0, ids)
        cos, sin = self._cos.index_select(0, positions), self._sin.index_select(0, positions)
        for layer in self._layers:
            states = layer(states, cos, sin, layout)
        last: Tensor = _normed(states, self._last.variance_epsilon) * self._last.weight
        return last


def _rotations(model: Any, policy: Policy, positions: int) -> tuple[Tensor, Tensor]:
    """[positions, 1, D] cosines, and sines with the sign of the first half turned."""
    like = torch.empty(0, dtype=policy.dtype, device=policy.device)
    cos, sin = model.rotary_emb(like, torch.arange(positions, device=policy.device)[None])
    half = sin.shape[-1] // 2
    return cos[0, :, None], torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)[0, :, None]


def is_fusable(policy: Policy) -> bool:
    """Whether the model is small, and this form gives the states that its modules give."""
    model: Any = policy.model.base_model
    layers = getattr(model, "layers", [])
    size = sum(one.numel() * one.element_size() for layer in layers for one in layer.parameters())
    # Rotations of other kinds change with the length of what is read.
    rotary = getattr(getattr(model, "rotary_emb", None), "rope_type", None)
    if size > LARGEST_COPY_BYTES or rotary not in ("default", "linear", "llama3", "yarn"):
        return False
    try:
        fused = FusedModel(policy, positions=8)
    except AttributeError:  # built of other modules
        return False
    forest = Forest(np.arange(8)[None] % policy.vocab_size, np.array([8]), device=policy.device)
    ours, theirs = fused.states(forest.ids, forest.positions, forest), policy.read(forest)
    tolerance = 1e-4 if policy.dtype == torch.float32 else 0.1
    return torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
