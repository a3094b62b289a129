"""Log-probability and entropy of sampled tokens from hidden states, without ever holding all logits.

Logits z = f(h Wᵀ) / temperature, with f the scale and cap of the model's output layer. Tokens may share a
state: responses that begin alike do.

Legend: T tokens, N states, H hidden size, V vocabulary, C rows of a tile of logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of the largest [C, V] tile. Products are at full speed from 128 rows up, and a CPU's tile should
# stay near its caches.
TILE_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}
_WIDE = (torch.float32, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """The output layer: z = scale · h Wᵀ, or cap · tanh(scale · h Wᵀ / cap), over a temperature."""

    weight: Tensor
    """[V, H]."""
    scale: float = 1.0
    cap: float | None = None
    temperature: float = 1.0

    @property
    def tile_rows(self) -> int:
        """C that fits in a tile, at least 1."""
        return max(1, TILE_ELEMENTS.get(self.weight.device.type, 1 << 23) // self.weight.shape[0])

    def logits(self, hidden: Tensor) -> Tensor:
        """[C, V] tempered logits of states [C, H], in at least float32 and a buffer of their own."""
        logits = product(hidden, self.weight.T)
        if self.cap is not None:
            logits.mul_(self.scale / self.cap).tanh_().mul_(self.cap / self.temperature)
        elif self.scale != self.temperature:
            logits.mul_(self.scale / self.temperature)
        return logits

    def slope_(self, grad: Tensor, logits: Tensor) -> Tensor:
        """∂L/∂(h Wᵀ) from ∂L/∂z, in the place of it."""
        if self.cap is not None:
            grad.mul_(1 - (logits * (self.temperature / self.cap)).square_())
        factor = self.scale / self.temperature
        return grad if factor == 1.0 else grad.mul_(factor)


def product(one: Tensor, other: Tensor) -> Tensor:
    """The matrix product accumulated and returned in at least float32."""
    if one.dtype in _WIDE:
        return one @ other
    if one.device.type == "cuda":
        return torch.mm(one, other, out_dtype=torch.float32)
    return one.float() @ other.float()


class Tile:
    """The distribution at some states: [C, V] is held twice, and never more."""

    def __init__(self, head: Head, hidden: Tensor) -> None:
        self._head, self._hidden = head, hidden
        logits = head.logits(hidden)
        self._top = logits.amax(1, keepdim=True)
        # Counted from the largest, so that what is nearly certain keeps its digits.
        self._logits = logits.sub_(self._top)
        self.probability = torch.softmax(self._logits, dim=1)
        self._log_total = self.probability.amax(1).log().neg_()
        # A token that cannot come, p = 0 at z = −∞, adds nothing.
        finite = self._logits.clamp_min_(torch.finfo(self._logits.dtype).min)
        self.entropy = self._log_total - torch.linalg.vecdot(self.probability, finite)
        """[C] −Σ_v p_v log p_v in nats."""

    def logp(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """[t] log p of tokens, each at a row: z[y] − logsumexp(z)."""
        return self._logits[rows, tokens] - self._log_total[rows]

    def gradient(
        self, rows: Tensor, tokens: Tensor, logp_grad: Tensor | None, entropy_grad: Tensor | None
    ) -> Tensor:
        """[C, V] ∂L/∂(h Wᵀ) from ∂L/∂log p [t] and ∂L/∂e [C]; it takes the place of the probability.

        ∂log p/∂z = onehot − p;  ∂e/∂z = −p (log p + e).
        """
        pull = torch.zeros_like(self._log_total)
        if logp_grad is not None:
            pull.index_add_(0, rows, logp_grad)
        if entropy_grad is None:
            grad = self.probability.mul_(-pull[:, None])
        else:
            constant = pull + entropy_grad * (self.entropy - self._log_total)
            grad = self.probability.mul_(
                torch.addcmul(constant[:, None], self._logits, entropy_grad[:, None]).neg_()
            )
        if logp_grad is not None:
            grad.view(-1).index_add_(0, rows * grad.shape[1] + tokens, logp_grad)
        return self._head.slope_(grad, self._logits + self._top if self._head.cap else self._logits)


def token_statistics(
    hidden: Tensor, head: Head, tokens: Tensor, *, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy in nats of each token under softmax(z), both [T] in at least float32.

    The entropy is over the full vocabulary, arXiv:2512.00499v2, Eq. (6). The backward pass recomputes the
    logits tile by tile.

    Args:
        hidden: [N, H] states.
        head: the output layer; its weight may carry a gradient.
        tokens: [T] int64 sampled tokens.
        rows: [T] int64 state that predicts each token; the t-th where it is missing.
    """
    logp, entropy = _Statistics.apply(  # type: ignore[no-untyped-call]
        hidden, head.weight, head, tokens, _rows(tokens, rows)
    )
    return logp, entropy if rows is None else entropy[rows]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """The tokens that a forward pass is asked about."""

    tokens: Tensor
    """[T] int64."""
    rows: Tensor
    """[T] int64 state that predicts each."""
    lengths: list[int]
    """Tokens of each response, in order; T in all."""


Loss = Callable[[slice, Tensor, Tensor], Tensor]
"""From a slice of responses, their log-probabilities [t] and entropies [t] to their share of the loss."""


def backward_in_one_pass(hidden: Tensor, head: Head, targets: Targets, loss: Loss) -> None:
    """Backpropagates the loss with one product for the logits and two for their gradient, a tile at a time.

    Whole responses share a tile, so that the loss of each is known, and with it the gradient of its logits,
    before the tile is dropped. A response that does not fit alone is computed twice instead.
    """
    hidden_grad = torch.zeros_like(hidden, dtype=_wide(hidden))
    is_in_place = _has_wide_gradient(head.weight)
    weight_grad = head.weight.grad if is_in_place else _gradient_buffer(head.weight)
    for responses, span in _runs(targets, head.tile_rows):
        chunk = _Chunk.of(targets, span)
        if len(chunk.states) <= head.tile_rows:
            _through_a_tile(
                hidden, head, chunk, lambda *s, r=responses: loss(r, *s), (hidden_grad, weight_grad)
            )
        else:
            _twice(hidden, head, chunk, lambda *s, r=responses: loss(r, *s), (hidden_grad, weight_grad))
    given = [(hidden, hidden_grad)] if hidden.requires_grad else []
    if weight_grad is not None and not is_in_place:
        given.append((head.weight, weight_grad))
    torch.autograd.backward([one for one, _ in given], [grad.to(one.dtype) for one, grad in given])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chunk:
    """Tokens whose logits are computed together."""

    tokens: Tensor
    states: Tensor
    """[C] int64 distinct states."""
    rows: Tensor
    """[t] int64 place of each token's state among them."""

    @classmethod
    def of(cls, targets: Targets, span: slice) -> _Chunk:
        states, rows = torch.unique(targets.rows[span], return_inverse=True)
        return cls(tokens=targets.tokens[span], states=states, rows=rows)


_Grads = tuple[Tensor, Tensor | None]
_ChunkLoss = Callable[[Tensor, Tensor], Tensor]


def _through_a_tile(hidden: Tensor, head: Head, chunk: _Chunk, loss: _ChunkLoss, grads: _Grads) -> None:
    states = hidden.detach()[chunk.states]
    with torch.no_grad():
        tile = Tile(head, states)
        logp, entropy = tile.logp(chunk.rows, chunk.tokens), tile.entropy
    logp.requires_grad_()
    entropy.requires_grad_()
    loss(logp, entropy[chunk.rows]).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        grad = tile.gradient(chunk.rows, chunk.tokens, logp.grad, entropy.grad)
        _push(grad, states, head.weight, at=chunk.states, into=grads)


def _twice(hidden: Tensor, head: Head, chunk: _Chunk, loss: _ChunkLoss, grads: _Grads) -> None:
    states = hidden.detach()[chunk.states].requires_grad_()
    weight = head.weight.detach().requires_grad_(grads[1] is not None)
    logp, entropy = _Statistics.apply(states, weight, head, chunk.tokens, chunk.rows)  # type: ignore[no-untyped-call]
    loss(logp, entropy[chunk.rows]).backward()  # type: ignore[no-untyped-call]
    if states.grad is not None:
        grads[0].index_add_(0, chunk.states, states.grad.to(grads[0].dtype))
    if grads[1] is not None and weight.grad is not None:
        grads[1].add_(weight.grad)


def _push(grad: Tensor, states: Tensor, weight: Tensor, *, at: Tensor, into: _Grads) -> None:
    """Adds the gradient of states and weight from that of their product."""
    hidden_grad, weight_grad = into
    grad = grad.to(weight.dtype)
    hidden_grad.index_add_(0, at, product(grad, weight).to(hidden_grad.dtype))
    if weight_grad is None:
        return
    if weight.dtype in _WIDE:
        weight_grad.addmm_(grad.T, states)
    else:
        weight_grad.add_(product(grad.T, states))


class _Statistics(torch.autograd.Function):
    """Log-probability of tokens [T] and entropy at states [N]."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, head: Head, tokens: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden, weight, tokens, rows)
        ctx.head = head
        logp = torch.empty(len(tokens), dtype=_wide(hidden), device=hidden.device)
        entropy = torch.empty(len(hidden), dtype=logp.dtype, device=hidden.device)
        for chunk, mine in _tiles(rows, len(hidden), head):
            tile = Tile(head, hidden[chunk])
            logp[mine], entropy[chunk] = tile.logp(rows[mine] - chunk.start, tokens[mine]), tile.entropy
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, logp_grad: Tensor | None, entropy_grad: Tensor | None) -> tuple[Any, ...]:
        hidden, weight, tokens, rows = ctx.saved_tensors
        hidden_grad = torch.zeros_like(hidden, dtype=_wide(hidden))
        weight_grad = torch.zeros_like(weight, dtype=_wide(weight)) if ctx.needs_input_grad[1] else None
        everywhere = torch.arange(len(hidden), device=hidden.device)
        for chunk, mine in _tiles(rows, len(hidden), ctx.head):
            grad = Tile(ctx.head, hidden[chunk]).gradient(
                rows[mine] - chunk.start,
                tokens[mine],
                None if logp_grad is None else logp_grad[mine],
                None if entropy_grad is None else entropy_grad[chunk],
            )
            _push(grad, hidden[chunk], weight, at=everywhere[chunk], into=(hidden_grad, weight_grad))
        given = None if weight_grad is None else weight_grad.to(weight.dtype)
        return hidden_grad.to(hidden.dtype), given, None, None, None


def _tiles(rows: Tensor, states: int, head: Head) -> Iterator[tuple[slice, Tensor]]:
    """Yields runs of states with the places of the tokens that they predict."""
    for start in range(0, states, head.tile_rows):
        chunk = slice(start, min(states, start + head.tile_rows))
        yield chunk, ((rows >= chunk.start) & (rows < chunk.stop)).nonzero()[:, 0]


def _runs(targets: Targets, most: int) -> Iterable[tuple[slice, slice]]:
    """Runs of responses of at most `most` tokens, or of one response: their places and their tokens'."""
    runs, first, begin, end = [], 0, 0, 0
    for index, length in enumerate(targets.lengths):
        if index > first and end + length - begin > most:
            runs.append((slice(first, index), slice(begin, end)))
            first, begin = index, end
        end += length
    return [*runs, (slice(first, len(targets.lengths)), slice(begin, end))]


def _rows(tokens: Tensor, rows: Tensor | None) -> Tensor:
    return torch.arange(len(tokens), device=tokens.device) if rows is None else rows


def _wide(like: Tensor) -> torch.dtype:
    return like.dtype if like.dtype in _WIDE else torch.float32


def _has_wide_gradient(weight: Tensor) -> bool:
    """Whether sums can be added to the gradient that is there."""
    return weight.requires_grad and weight.is_leaf and weight.grad is not None and weight.grad.dtype in _WIDE


def _gradient_buffer(weight: Tensor) -> Tensor | None:
    """Where the gradient of the weight is summed, if it has one."""
    return torch.zeros_like(weight, dtype=_wide(weight)) if weight.requires_grad else None
