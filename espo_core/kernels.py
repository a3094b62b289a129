"""Kernels of the written-out layers, with gradients in fewer passes over memory than autograd's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


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


def normed(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    if torch.compiler.is_compiling():
        wide = states.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        plain: Tensor = (wide * scale).to(states.dtype) * weight
        return plain
    if not torch.is_grad_enabled():
        scale = _inverse_root_mean_square(states.float(), epsilon)
        short: Tensor = (states * scale).to(states.dtype)
        return short.mul_(weight)
    with_gradient: Tensor = _Norm.apply(states, weight, epsilon)  # type: ignore[no-untyped-call]
    return with_gradient


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


class Turned(torch.autograd.Function):
    """The rotary position embedding of the first heads of [N, heads, D], and the other heads."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, turn: Tensor, turned: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(turn)
        return turned_heads(heads[:, :turned], turn), heads[:, turned:].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, others: Tensor) -> tuple[Tensor, None, None]:
        (turn,) = ctx.saved_tensors
        whole = grad.new_empty(len(grad), grad.shape[1] + others.shape[1], grad.shape[2])
        half = grad.shape[2] // 2
        torch.add(grad * turn[0], (grad * turn[1]).roll(half, dims=-1), out=whole[:, : grad.shape[1]])
        whole[:, grad.shape[1] :] = others
        return whole, None, None


def turned_heads(heads: Tensor, turn: Tensor) -> Tensor:
    return torch.addcmul(heads * turn[0], heads.roll(heads.shape[2] // 2, dims=-1), turn[1])


def gated(both: Tensor) -> Tensor:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        gate, up = both.chunk(2, dim=-1)
        return silu(gate) * up
    with_gradient: Tensor = _Gated.apply(both)  # type: ignore[no-untyped-call]
    return with_gradient
