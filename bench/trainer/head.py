"""Log-probability, entropy and gradients of 4,096 tokens over 49,152 symbols: one side in a fresh process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from bench.peers.installed import load
from bench.trainer.machine import resident_bytes, use_one_core
from bench.trainer.turns import Turns
from espo_core.logprobs import Head, Targets, backward_in_one_pass, token_statistics

TOKENS, VOCABULARY, HIDDEN = 4_096, 49_152, 576
LENGTH = 64
"""Tokens of a response."""


def one_pass(hidden: Tensor, weight: Tensor, tokens: Tensor) -> None:
    """Ours where the loss of a response depends on that response alone."""
    coefficient = torch.linspace(-1, 1, len(tokens))
    length = min(LENGTH, len(tokens))
    targets = Targets(
        tokens=tokens, rows=torch.arange(len(tokens)), lengths=[length] * (len(tokens) // length)
    )

    def loss(responses: slice, logp: Tensor, entropy: Tensor) -> Tensor:
        return (logp * coefficient[responses.start * length : responses.stop * length]).sum()

    backward_in_one_pass(hidden, Head(weight=weight), targets, loss)


def recomputed(hidden: Tensor, weight: Tensor, tokens: Tensor) -> None:
    """Ours for any loss: the backward pass computes the logits again."""
    logp, _ = token_statistics(hidden, Head(weight=weight), tokens)
    _backward(logp)


def peer(hidden: Tensor, weight: Tensor, tokens: Tensor) -> None:
    """The function that TRL's fused head calls, with the arguments that GRPOTrainer gives it."""
    module = load("trl.trainer.utils")
    chunk = module._CHUNKED_LOGPROB_CHUNK_SIZE
    outputs = ("log_probs", "entropy")
    logp = module._ChunkedLogProbFunction.apply(hidden, weight, None, tokens, 1.0, chunk, None, 1.0, outputs)[
        0
    ]
    _backward(logp)


def _backward(logp: Tensor) -> None:
    (logp * torch.linspace(-1, 1, len(logp))).sum().backward()  # type: ignore[no-untyped-call]


SIDES: dict[str, Callable[[Tensor, Tensor, Tensor], None]] = {
    "ours": one_pass,
    "ours-recomputed": recomputed,
    "peer": peer,
}


def inputs(*, tokens: int, vocabulary: int, hidden: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states and weights that take a gradient, and sampled tokens."""
    source = torch.Generator().manual_seed(0)
    states = torch.randn(tokens, hidden, generator=source).requires_grad_()
    weight = (torch.randn(vocabulary, hidden, generator=source) / hidden**0.5).requires_grad_()
    return states, weight, torch.randint(vocabulary, (tokens,), generator=source)


def main() -> None:
    """One turn, with the memory that was resident before it."""
    turns, given = Turns(), json.loads(sys.argv[1])
    use_one_core(given["core"])
    side = SIDES[given["side"]]
    side(*inputs(tokens=8, vocabulary=64, hidden=16))  # loads what is loaded on first use
    states, weight, tokens = inputs(tokens=TOKENS, vocabulary=VOCABULARY, hidden=HIDDEN)
    turns.answer()
    turns.wait()
    before = resident_bytes()
    side(states, weight, tokens)
    assert states.grad is not None
    assert weight.grad is not None
    norms = {"states_gradient": float(states.grad.norm()), "weight_gradient": float(weight.grad.norm())}
    turns.answer(resident_bytes=before, **norms)


if __name__ == "__main__":
    main()
