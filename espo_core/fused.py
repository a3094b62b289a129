"""A model's layers written out: fewer and larger kernels than its modules make, to sample and to train.

The projections that read the same input become one product. Their weights are joined where they lie: the
modules' own weights and gradients are views of the joined ones, so that optimiser and checkpoints see what
they always saw. Values differ from the modules' by rounding only, which is checked before this form is used.

Legend: N tokens, H hidden size, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from transformers import PreTrainedModel

from espo_core.attention import Layout

# Rotations of other kinds change with the length of what is read.
FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")


class _Joined:
    """The weights, or biases, of linear layers of the same input as one."""

    def __init__(self, parts: Sequence[nn.Parameter]) -> None:
        self.parts = parts
        with torch.no_grad():
            self.whole = torch.cat([one.detach() for one in parts])
            """[out, in], a leaf whose gradient is that of the parts."""
            for one, view in zip(parts, self._views(self.whole), strict=True):
                one.data = view
        self.whole.requires_grad_(parts[0].requires_grad)

    def link(self) -> None:
        """Makes the gradients of the parts views of the whole's, where somebody has given them others."""
        if self.whole.requires_grad and not self._is_linked():
            given = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.parts]
            self.whole.grad = torch.cat(given)
            for one, view in zip(self.parts, self._views(self.whole.grad), strict=True):
                one.grad = view

    def _is_linked(self) -> bool:
        grad = self.whole.grad
        return grad is not None and all(
            one.grad is not None and one.grad.data_ptr() == view.data_ptr()
            for one, view in zip(self.parts, self._views(grad), strict=True)
        )

    def _views(self, whole: Tensor) -> Sequence[Tensor]:
        views: Sequence[Tensor] = whole.split([len(one) for one in self.parts])  # type: ignore[no-untyped-call]
        return views


class _Linear:
    """Linear layers of the same input."""

    def __init__(self, *layers: Any) -> None:
        self.joined = [_Joined([one.weight for one in layers])]
        if layers[0].bias is not None:
            self.joined.append(_Joined([one.bias for one in layers]))

    def pair(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias."""
        return self.joined[0].whole, self.joined[1].whole if len(self.joined) > 1 else None


class _Norm(torch.autograd.Function):
    """x · w / √(mean x² + ε), in two thirds of the kernels that the library's form takes."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        scale = _inverse_root_mean_square(states.float(), epsilon)
        normed = (states * scale).to(states.dtype)
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        normed, scale, weight = ctx.saved_tensors
        product = grad * normed
        weight_grad = product.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        along = torch.mv(product.flatten(0, -2), weight).view(scale.shape).mul_(1 / grad.shape[-1])
        return (grad * weight).addcmul_(normed, along, value=-1).mul_(scale), weight_grad, None


def _inverse_root_mean_square(states: Tensor, epsilon: float) -> Tensor:
    norm = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return torch.addcmul(norm.new_tensor(epsilon), norm, norm, value=1 / states.shape[-1]).rsqrt_()


def _normed(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    if torch.compiler.is_compiling():
        wide = states.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        plain: Tensor = (wide * scale).to(states.dtype) * weight
        return plain
    if not torch.is_grad_enabled():
        scale = _inverse_root_mean_square(states.float(), epsilon)
        short: Tensor = (states * scale).to(states.dtype)
        return short.mul_(weight)
    normed: Tensor = _Norm.apply(states, weight, epsilon)  # type: ignore[no-untyped-call]
    return normed


class _Gated(torch.autograd.Function):
    """silu(gate) · up of [N, gate and up]; the gradients of both are written where they belong."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        sigmoid = torch.sigmoid(gate)
        whole = torch.empty_like(both)
        to_gate, to_up = whole.chunk(2, dim=-1)
        active = torch.mul(gate, sigmoid, out=to_up)
        # ∂silu(x)/∂x = σ(x) + silu(x) (1 − σ(x))
        torch.addcmul(sigmoid, active, 1 - sigmoid, out=to_gate).mul_(up).mul_(grad)
        active.mul_(grad)
        return whole


class _Turned(torch.autograd.Function):
    """The rotary position embedding of the first heads of [N, heads, D], and the other heads."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, turn: Tensor, turned: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(turn)
        return _turned(heads[:, :turned], turn), heads[:, turned:].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, others: Tensor) -> tuple[Tensor, None, None]:
        (turn,) = ctx.saved_tensors
        whole = grad.new_empty(len(grad), grad.shape[1] + others.shape[1], grad.shape[2])
        half = grad.shape[2] // 2
        torch.add(grad * turn[0], (grad * turn[1]).roll(half, dims=-1), out=whole[:, : grad.shape[1]])
        whole[:, grad.shape[1] :] = others
        return whole, None, None


def _turned(heads: Tensor, turn: Tensor) -> Tensor:
    return torch.addcmul(heads * turn[0], heads.roll(heads.shape[2] // 2, dims=-1), turn[1])


def _gated(both: Tensor) -> Tensor:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        gate, up = both.chunk(2, dim=-1)
        return silu(gate) * up
    gated: Tensor = _Gated.apply(both)  # type: ignore[no-untyped-call]
    return gated


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
    heads = linear(_normed(states, norms[0], sizes.epsilon), *read[0]).view(len(states), -1, sizes.size)
    if len(norms) == 1 and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        both: tuple[Tensor, Tensor] = _Turned.apply(heads, turn, sizes.rotated)  # type: ignore[no-untyped-call]
        return both
    turned, values = heads[:, : sizes.rotated], heads[:, sizes.rotated :]
    if len(norms) > 1:
        parts = turned.split([sizes.heads, sizes.rotated - sizes.heads], dim=1)  # type: ignore[no-untyped-call]
        even = [_normed(one, weight, sizes.epsilon) for one, weight in zip(parts, norms[1:], strict=True)]
        turned = torch.cat(even, dim=1)
    return _turned(turned, turn), values


def _out_of_attention(sizes: Sizes, states: Tensor, seen: Tensor, norm: Tensor, write: Pairs) -> Tensor:
    """[N, H] states after the layer; `write` is the projections out, to gate and up, and down."""
    states = _plus(states, seen, *write[0])
    return _plus(states, _gated(linear(_normed(states, norm, sizes.epsilon), *write[1])), *write[2])


def _plus(states: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The states and what a projection adds to them."""
    return torch.addmm(states if bias is None else states + bias, inputs, weight.T)


class _Layer:
    """A decoder layer as Llama, Mistral, Qwen2 and Qwen3 have it."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.index, self.scaling = attention.layer_idx, attention.scaling
        extra = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        read = _Linear(attention.q_proj, attention.k_proj, attention.v_proj)
        write = [_Linear(attention.o_proj), _Linear(mlp.gate_proj, mlp.up_proj), _Linear(mlp.down_proj)]
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

    def compile(self) -> None:
        """Has the kernels between two attentions made for this machine, at the next passes."""
        self._into, self._out = torch.compile(_into_attention), torch.compile(_out_of_attention)

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
        return _normed(states, self._last.weight, self._sizes.epsilon)

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
