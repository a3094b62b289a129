"""Small batches as plain lists, one record a response, and the TokenBatch of the same numbers."""

import random
from dataclasses import dataclass, replace

import torch

from espo_core.batch import TokenBatch

VOCAB_SIZE = 19


@dataclass(frozen=True, kw_only=True)
class Response:
    """Everything known about one response; a list has one number a token."""

    logp: list[float]
    logp_old: list[float]
    entropy: list[float]
    logp_ref: list[float]
    advantage: float


def random_responses(seed: int, *, count: int = 12, spread: float = 0.03) -> list[Response]:
    """Responses of 1 to 14 tokens, several of one token, with equal entropies and zero advantages among them.

    `spread` is the standard deviation of log π_θ − log π_old; the numbers are exact in float32.
    """
    random_state = random.Random(seed)
    lengths = [1, 1, *(random_state.randint(1, 14) for _ in range(count - 2))]
    return [_random_response(random_state, length, spread) for length in lengths]


def _random_response(random_state: random.Random, length: int, spread: float) -> Response:
    tokens = range(length)
    logp_old = [_float32(-random_state.expovariate(1.0)) for _ in tokens]
    return Response(
        logp=[_float32(old + random_state.gauss(0.0, spread)) for old in logp_old],
        logp_old=logp_old,
        # A grid of sixteenths makes equal entropies common, zero among them.
        entropy=[max(0, round(random_state.gauss(6, 8))) / 16 for _ in tokens],
        logp_ref=[_float32(old + random_state.gauss(0.0, 0.3)) for old in logp_old],
        advantage=random_state.choice([0.0, 1.0, -1.0, 0.75, -1.5]),
    )


def _float32(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


def token_batch(responses: list[Response], dtype: torch.dtype = torch.float64) -> TokenBatch:
    """The packed batch, whose `logp` is a leaf that takes a gradient."""

    def packed(name: str) -> torch.Tensor:
        return torch.tensor([value for one in responses for value in getattr(one, name)], dtype=dtype)

    return TokenBatch(
        logp=packed("logp").requires_grad_(),
        logp_old=packed("logp_old"),
        entropy_old=packed("entropy"),
        logp_ref=packed("logp_ref"),
        response=torch.tensor([i for i, one in enumerate(responses) for _ in one.logp]),
        advantage=torch.tensor([one.advantage for one in responses], dtype=dtype),
        vocab_size=VOCAB_SIZE,
    )


def at_old_policy(responses: list[Response]) -> list[Response]:
    """The same responses with π_θ = π_old."""
    return [replace(one, logp=list(one.logp_old)) for one in responses]


def gradient_of(loss: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """d loss / d logp."""
    (gradient,) = torch.autograd.grad(loss, batch.logp)
    return gradient
