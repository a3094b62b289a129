"""A model's layers written out: fewer and larger kernels than its modules make, to sample and to train.

The projections that read the same input become one product (espo_core/joined.py). Values differ from the
modules' by rounding only, which is checked before this form is used.

Legend: N tokens, H hidden size, K key-value heads, D head size; B rows being decoded, C columns before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from espo_core.attention import Layout
from espo_core.joined import JoinedLinear
from espo_core.kernels import Turned, gated, normed, turned_heads

# Rotations of other kinds change with the length of what is read.
FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a model's layers; all have the same."""

    size: int
    """D."""
    heads: int
    """Of queries."""
    rotated: int
    """Heads of queries and keys."""
    epsilon: float


Pairs = Sequence[tuple[Tensor, Tensor | None]]


def _into_attention(
    sizes: Sizes, states: Tensor, turn: Tensor, norms: Sequence[Tensor], read: Pairs
) -> tuple[Tensor, Tensor]:
    """[N, heads of queries and keys, D] and [N, key-value heads, D] of values, as attention reads them.

    Args:
        turn: [2, N, 1, D] cosines, and sines with the sign of the first half turned.
        norms: weights of the norm before the layer, and of those of queries and keys where there are any.
    """
    heads = linear(normed(states, norms[0], sizes.epsilon), *read[0]).view(len(states), -1, sizes.size)
    if len(norms) == 1 and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        both: tuple[Tensor, Tensor] = Turned.apply(heads, turn, sizes.rotated)  # type: ignore[no-untyped-call]
        return both
    turned, values = heads[:, : sizes.rotated], heads[:, sizes.rotated :]
    if len(norms) > 1:
        parts = turned.split([sizes.heads, sizes.rotated - sizes.heads], dim=1)  # type: ignore[no-untyped-call]
        even = [normed(one, weight, sizes.epsilon) for one, weight in zip(parts, norms[1:], strict=True)]
        turned = torch.cat(even, dim=1)
    return turned_heads(turned, turn), values


def _out_of_attention(sizes: Sizes, states: Tensor, seen: Tensor, norm: Tensor, write: Pairs) -> Tensor:
    """[N, H] states after the layer; `write` is the projections out, to gate and up, and down."""
    states = _plus(states, seen, *write[0])
    return _plus(states, gated(linear(normed(states, norm, sizes.epsilon), *write[1])), *write[2])


def _plus(states: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The states and what a projection adds to them."""
    return torch.addmm(states if bias is None else states + bias, inputs, weight.T)


def _further(  # noqa: PLR0913, PLR0917  no record of ours goes through the compiler
    sizes: Sizes,
    states: Tensor,
    turn: Tensor,
    past: Tensor,
    bias: Tensor,
    layers: Sequence[Any],
    last: Tensor,
) -> tuple[Tensor, Tensor]:
    """All layers for one further token a row; arguments and result as of `FusedModel.further`."""
    written = []
    for (reading, writing, scaling), (keys, values) in zip(layers, past.unbind(0), strict=True):
        heads, value = _into_attention(sizes, states, turn, *reading)
        query, key = heads[:, : sizes.heads] * scaling, heads[:, sizes.heads :]
        seen = _seen(query.unflatten(1, (key.shape[1], -1)), keys, values, (key, value), bias)
        states = _out_of_attention(sizes, states, seen.flatten(1), *writing)
        written.append(torch.stack([key, value]))
    return normed(states, last, sizes.epsilon), torch.stack(written)


def _seen(query: Tensor, keys: Tensor, values: Tensor, own: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
    """[B, K, heads / K, D] of a scaled query a row to keys and values [B, K, C, D] and its own [B, K, D].

    The softmax is taken over both at once, so that the token itself need not be in the cache yet.
    """
    key, value = own
    before = query @ keys.transpose(2, 3) + bias
    itself = (query * key[:, :, None]).sum(-1, keepdim=True)
    top = torch.maximum(before.amax(-1, keepdim=True), itself)
    weight, own_weight = (before - top).exp(), (itself - top).exp()
    total = weight.sum(-1, keepdim=True) + own_weight
    return (weight @ values + own_weight * value[:, :, None]) / total


class _Layer:
    """A decoder layer as Llama, Mistral, Qwen2 and Qwen3 have it."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.index, self.scaling = attention.layer_idx, attention.scaling
        extra = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        read = JoinedLinear(attention.q_proj, attention.k_proj, attention.v_proj)
        write = [
            JoinedLinear(attention.o_proj),
            JoinedLinear(mlp.gate_proj, mlp.up_proj),
            JoinedLinear(mlp.down_proj),
        ]
        self.joined = [one for each in (read, *write) for one in each.joined]
        self.reading = [one.weight for one in (layer.input_layernorm, *extra)], [read.pair()]
        """Norms and projections before attention."""
        self.writing = layer.post_attention_layernorm.weight, [one.pair() for one in write]
        """Norm and projections after it."""


class FusedModel:
    """The layers of a model in this form.

    Raises:
        AttributeError: the model is built of other modules.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        body: Any = model.base_model
        first = body.layers[0].self_attn
        self._embedding, self._last, self._rotary = body.embed_tokens, body.norm, body.rotary_emb
        self._sizes = Sizes(
            size=first.head_dim,
            heads=len(first.q_proj.weight) // first.head_dim,
            rotated=(len(first.q_proj.weight) + len(first.k_proj.weight)) // first.head_dim,
            epsilon=body.norm.variance_epsilon,
        )
        self._layers = [_Layer(layer) for layer in body.layers]
        self._table = torch.empty((2, 0, 1, 0))
        joined = {id(one) for layer in self._layers for each in layer.joined for one in each.parts}
        for one in (one for one in model.parameters() if id(one) not in joined):
            # The file that weights were read from stays in memory as long as one of them lies in it.
            one.data = one.data.clone()
        self._into: Callable[..., tuple[Tensor, Tensor]] = _into_attention
        self._out: Callable[..., Tensor] = _out_of_attention
        self._step: Callable[..., tuple[Tensor, Tensor]] | None = None

    def compile(self) -> None:
        """Has the kernels between two attentions, and those of a whole step of decoding, made for this
        machine at the next passes."""
        self._into, self._out = torch.compile(_into_attention), torch.compile(_out_of_attention)
        self._step = torch.compile(_further)

    @property
    def decodes_at_once(self) -> bool:
        """Whether a step of decoding is one compiled graph."""
        return self._step is not None

    def further(self, ids: Tensor, positions: Tensor, past: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """[B, H] last hidden states of one further token a row, and its keys and values [layers, 2, B, K, D].

        A graph is made for each B; C may be any.

        Args:
            past: [layers, 2, B, K, C, D] keys and values before it.
            bias: [B, 1, 1, C] 0, and −∞ where a row sees no key.
        """
        states = self._embedding(ids)
        turn = self._turn(states, positions)
        for tensor, rows in ((states, 0), (turn, 1), (past, 2), (bias, 0)):
            torch._dynamo.mark_static(tensor, rows)
        for tensor, columns in ((past, 4), (bias, 3)):
            torch._dynamo.maybe_mark_dynamic(tensor, columns)
        layers = [(layer.reading, layer.writing, layer.scaling) for layer in self._layers]
        assert self._step is not None  # noqa: S101  the caller has asked `decodes_at_once`
        return self._step(self._sizes, states, turn, past, bias, layers, self._last.weight)

    def states(self, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """[N, H] last hidden states; arguments as of `Policy.states`."""
        if torch.is_grad_enabled():
            for joined in (one for layer in self._layers for one in layer.joined):
                joined.link()
        states = self._embedding(ids)
        turn = self._turn(states, positions)
        for layer in self._layers:
            heads, value = self._into(self._sizes, states, turn, *layer.reading)
            query, key = heads[:, : self._sizes.heads], heads[:, self._sizes.heads :]
            seen = layout.attend(layer.index, query, key, value, layer.scaling)
            states = self._out(self._sizes, states, seen.flatten(1), *layer.writing)
        return normed(states, self._last.weight, self._sizes.epsilon)

    def _turn(self, states: Tensor, positions: Tensor) -> Tensor:
        """[2, N, 1, D] rotations, from a table where asking for its length does not stall a device."""
        if positions.device.type != "cpu":
            return self._turns(states, positions)
        longest = int(positions.max()) + 1
        if self._table.shape[1] < longest or self._table.dtype != states.dtype:
            self._table = self._turns(states, torch.arange(2 * longest))
        return self._table.index_select(1, positions)

    @torch.no_grad()
    def _turns(self, states: Tensor, positions: Tensor) -> Tensor:
        cos, sin = self._rotary(states, positions[None])
        half = sin.shape[-1] // 2
        return torch.stack([cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)])[:, :, None]


def fused(model: PreTrainedModel) -> FusedModel | None:
    """The model in this form, if it is built of such layers."""
    body: Any = model.base_model
    rotary = getattr(getattr(body, "rotary_emb", None), "rope_type", None)
    if rotary not in FIXED_ROTATIONS or getattr(model.config, "hidden_act", None) != "silu":
        return None
    try:
        return FusedModel(model)
    except AttributeError:
        return None
