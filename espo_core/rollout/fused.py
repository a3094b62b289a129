"""A small model written out for sampling: fewer and larger kernels than its modules make.

A step of decoding a small model is mostly the start of kernels. Here the projections that read the same input
are one product, on copies of the weights that are made anew for each rollout; large models gain nothing by it
and sample by their own modules.

Legend: N tokens, H hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm

from espo_core.attention import Layout
from espo_core.forest import Forest
from espo_core.policy import Policy

LARGEST_COPY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Projection:
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, policy: Policy, *layers: nn.Module) -> _Projection:
        """Several linear layers of the same input as one, their adapters merged in."""
        adapters = policy.adapters
        weights = [one.weight if adapters is None else adapters.weight_of(one) for one in layers]
        biases = [one.bias for one in layers]
        return cls(
            weight=torch.cat(weights),  # type: ignore[arg-type]
            bias=None if biases[0] is None else torch.cat(biases),  # type: ignore[arg-type]
        )

    def __call__(self, inputs: Tensor) -> Tensor:
        return linear(inputs, self.weight, self.bias)


class _Norm:
    def __init__(self, norm: Any) -> None:
        self._weight, self._epsilon = norm.weight, norm.variance_epsilon

    def __call__(self, values: Tensor) -> Tensor:
        return rms_norm(values, (values.shape[-1],), self._weight, self._epsilon)


class _Layer:
    """A decoder layer as Llama, Mistral, Qwen2 and Qwen3 have it."""

    def __init__(self, policy: Policy, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._index, self._size, self._scaling = attention.layer_idx, attention.head_dim, attention.scaling
        self._before, self._between = _Norm(layer.input_layernorm), _Norm(layer.post_attention_layernorm)
        self._heads = attention.q_proj.weight.shape[0] // self._size
        self._rotated = self._heads + attention.k_proj.weight.shape[0] // self._size
        self._read = _Projection.of(policy, attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = _Projection.of(policy, attention.o_proj)
        self._gate, self._down = (
            _Projection.of(policy, mlp.gate_proj, mlp.up_proj),
            _Projection.of(policy, mlp.down_proj),
        )
        self._act = mlp.act_fn
        self._norms = [
            _Norm(getattr(attention, name)) for name in ("q_norm", "k_norm") if hasattr(attention, name)
        ]

    def __call__(self, states: Tensor, cos: Tensor, sin: Tensor, layout: Layout) -> Tensor:
        read = self._read(self._before(states)).view(len(states), -1, self._size)
        rotated = self._rotate(read[:, : self._rotated], cos, sin)
        query, key = rotated[:, : self._heads], rotated[:, self._heads :]
        seen = layout.attend(self._index, query, key, read[:, self._rotated :], self._scaling)
        states = states + self._out(seen.flatten(1))
        gate, up = self._gate(self._between(states)).chunk(2, dim=-1)
        return states + self._down(self._act(gate) * up)

    def _rotate(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary position embedding of queries and keys; `sin` has the sign of the half that comes first."""
        if self._norms:
            query, key = heads[:, : self._heads], heads[:, self._heads :]
            heads = torch.cat([self._norms[0](query), self._norms[1](key)], dim=1)
        return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, dims=-1), sin)


class FusedModel:
    """The layers of a model in this form."""

    def __init__(self, policy: Policy) -> None:
        model: Any = policy.model.base_model
        self._embedding, self._rotary, self._last = (
            model.embed_tokens.weight,
            model.rotary_emb,
            _Norm(model.norm),
        )
        self._layers = [_Layer(policy, layer) for layer in model.layers]

    def states(self, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """[N, H] last hidden states; arguments as of `Policy.states`."""
        states = self._embedding.index_select(0, ids)
        cos, sin = (one[0, :, None] for one in self._rotary(states[None], positions[None]))
        half = sin.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        for layer in self._layers:
            states = layer(states, cos, sin, layout)
        return self._last(states)


def is_fusable(policy: Policy) -> bool:
    """Whether the model is small, and this form gives the states that its modules give."""
    layers = getattr(policy.model.base_model, "layers", [])
    if (
        sum(one.numel() * one.element_size() for layer in layers for one in layer.parameters())
        > LARGEST_COPY_BYTES
    ):
        return False
    try:
        fused = FusedModel(policy)
    except AttributeError:  # built of other modules
        return False
    forest = Forest(np.arange(8)[None] % policy.vocab_size, np.array([8]), device=policy.device)
    ours, theirs = fused.states(forest.ids, forest.positions, forest), policy.read(forest)
    tolerance = 1e-4 if policy.dtype == torch.float32 else 0.1
    return torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
