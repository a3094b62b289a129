"""Log-probability and entropy of sampled tokens from hidden states, without ever holding all logits.

Legend: T tokens, H hidden size, V vocabulary, C tokens of a chunk. Logits z = h Wᵀ / temperature.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of the largest [C, V] tile. Products are at full speed from 128 rows up, and a CPU's tile should
# stay near its caches.
TILE_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}


def token_statistics(
    hidden: Tensor, weight: Tensor, tokens: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy in nats of each token under softmax(z), both [T] in at least float32.

    log p_t = z_t[y_t] − logsumexp(z_t);  e_t = −Σ_v p_v log p_v, the full vocabulary of
    arXiv:2512.00499v2, Eq. (6). The backward pass recomputes the logits chunk by chunk:
    ∂log p/∂z = onehot − p;  ∂e/∂z = −p (log p + e).

    Args:
        hidden: [T, H] states that predict the tokens.
        weight: [V, H] output weight.
        tokens: [T] int64 sampled tokens.
    """
    statistics: tuple[Tensor, Tensor] = _TokenStatistics.apply(  # type: ignore[no-untyped-call]
        hidden, weight, tokens, temperature
    )
    return statistics


def statistics_of_logits(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The same two figures from tempered logits that are already there, [C, V]."""
    logp = torch.log_softmax(logits, dim=-1)
    return logp.gather(1, tokens[:, None])[:, 0], entropy_of(logp)


def entropy_of(logp: Tensor) -> Tensor:
    """[C] entropy in nats of rows of log-probabilities; −∞ (a token that cannot come) adds 0."""
    return -(logp.exp() * logp.clamp_min(torch.finfo(logp.dtype).min)).sum(-1)


def tempered_logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """[C, V] logits divided by the temperature, in at least float32."""
    logits = hidden @ weight.T
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits if temperature == 1.0 else logits / temperature


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, tokens)
        ctx.temperature = temperature
        parts = [
            statistics_of_logits(tempered_logits(hidden[chunk], weight, temperature), tokens[chunk])
            for chunk in _chunks(len(tokens), weight)
        ]
        return torch.cat([logp for logp, _ in parts]), torch.cat([entropy for _, entropy in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, logp_grad: Tensor | None, entropy_grad: Tensor | None) -> tuple[Any, ...]:
        hidden, weight, tokens = ctx.saved_tensors
        hidden_grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for chunk in _chunks(len(tokens), weight):
            logits = tempered_logits(hidden[chunk], weight, ctx.temperature)
            grad = _logits_grad(logits, tokens[chunk], _at(logp_grad, chunk), _at(entropy_grad, chunk))
            grad = grad.div_(ctx.temperature).to(weight.dtype)
            if hidden_grad is not None:
                hidden_grad[chunk] = grad @ weight
            if weight_grad is not None:
                weight_grad.addmm_(grad.T, hidden[chunk])
        return hidden_grad, weight_grad, None, None


def _logits_grad(
    logits: Tensor, tokens: Tensor, logp_grad: Tensor | None, entropy_grad: Tensor | None
) -> Tensor:
    """[C, V] gradient with respect to the tempered logits."""
    logp = torch.log_softmax(logits, dim=-1)
    probability = logp.exp()
    grad = torch.zeros_like(logp)
    if logp_grad is not None:
        grad.addcmul_(probability, logp_grad[:, None], value=-1)
        grad.scatter_add_(1, tokens[:, None], logp_grad[:, None])
    if entropy_grad is not None:
        surprise = logp.clamp_min(torch.finfo(logp.dtype).min) + entropy_of(logp)[:, None]
        grad.addcmul_(probability * surprise, entropy_grad[:, None], value=-1)
    return grad


def _chunks(tokens: int, weight: Tensor) -> list[slice]:
    size = max(1, TILE_ELEMENTS.get(weight.device.type, 1 << 23) // weight.shape[0])
    return [slice(start, start + size) for start in range(0, tokens, size)]


def _at(grad: Tensor | None, chunk: slice) -> Tensor | None:
    return None if grad is None else grad[chunk]
