"""Small batches as plain lists, one record a response, and the TokenBatch of the same numbers."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from espo_core.batch import TokenBatch

VOCAB_SIZE = 19
GROUP_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Response:
    """Everything known about one response; a list has one number a token."""

    logp: list[float]
    logp_old: list[float]
    entropy: list[float]
    """Under the old policy."""
    entropy_now: list[float]
    logp_ref: list[float]
    advantage: float
    group: int = 0
    reward: float = 0.0
    verified: bool = True


def random_responses(seed: int, *, count: int = 12, spread: float = 0.03) -> list[Response]:
    """Responses of 1 to 14 tokens in prompt groups of four, whose z-scores are the advantages.

    Several have one token, equal entropies are common, and there are groups of equal rewards, groups without
    a verdict and responses without one. `spread` is the standard deviation of log π_θ − log π_old; the
    numbers are exact in float32.
    """
    random_state = random.Random(seed)
    lengths = [1, 1, *(random_state.randint(1, 14) for _ in range(count - 2))]
    random_state.shuffle(lengths)
    responses: list[Response] = []
    for group, start in enumerate(range(0, count, GROUP_SIZE)):
        outcomes = _random_outcomes(random_state, len(lengths[start : start + GROUP_SIZE]))
        for length, (reward, verified) in zip(lengths[start : start + GROUP_SIZE], outcomes, strict=True):
            one = _random_response(random_state, length, spread)
            # The ids have gaps, as those of a batch from which groups were dropped.
            responses.append(replace(one, reward=reward, verified=verified, group=3 * group + 1))
    return with_zscores(responses)


def _random_outcomes(random_state: random.Random, size: int) -> list[tuple[float, bool]]:
    """(reward, verified) of the responses to one prompt."""
    kind = random_state.choices(["mixed", "equal", "alone", "no verdict"], weights=[8, 1, 1, 1])[0]
    rewards = [random_state.choice([0.0, 0.0, 0.25, 1.0, 1.0]) for _ in range(size)]
    if kind == "equal":
        rewards = [random_state.choice([0.0, 1.0])] * size
    verified = [random_state.random() < 0.9 for _ in range(size)]
    if kind in ("alone", "no verdict"):
        verified = [kind == "alone", *([False] * (size - 1))]
    return list(zip(rewards, verified, strict=True))


def _random_response(random_state: random.Random, length: int, spread: float) -> Response:
    tokens = range(length)
    logp_old = [_float32(-random_state.expovariate(1.0)) for _ in tokens]
    return Response(
        logp=[_float32(old + random_state.gauss(0.0, spread)) for old in logp_old],
        logp_old=logp_old,
        # A grid of sixteenths makes equal entropies common, zero among them.
        entropy=[max(0, round(random_state.gauss(6, 8))) / 16 for _ in tokens],
        entropy_now=[_float32(abs(random_state.gauss(0.5, 0.5))) for _ in tokens],
        logp_ref=[_float32(old + random_state.gauss(0.0, 0.3)) for old in logp_old],
        advantage=0.0,
    )


def with_zscores(responses: list[Response]) -> list[Response]:
    """The responses with (R − mean) / std over the verified of their group as advantage, else 0."""
    return [replace(one, advantage=_float32(_zscore(one, mates(responses, one)))) for one in responses]


def mates(responses: list[Response], one: Response) -> list[Response]:
    """The verified responses to the same prompt."""
    return [other for other in responses if other.group == one.group and other.verified]


def _zscore(one: Response, verified: list[Response]) -> float:
    rewards = [other.reward for other in verified]
    if not one.verified or len(set(rewards)) < 2:
        return 0.0
    return (one.reward - statistics.fmean(rewards)) / (statistics.stdev(rewards) + 1e-6)


def _float32(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


def token_batch(responses: Sequence[Response], dtype: torch.dtype = torch.float64) -> TokenBatch:
    """The packed batch, whose `logp` and `entropy` are leaves that take a gradient."""

    def packed(name: str) -> torch.Tensor:
        return torch.tensor([value for one in responses for value in getattr(one, name)], dtype=dtype)

    def of_each(name: str, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.tensor([getattr(one, name) for one in responses], dtype=kind)

    return TokenBatch(
        logp=packed("logp").requires_grad_(),
        logp_old=packed("logp_old"),
        entropy_old=packed("entropy"),
        entropy=packed("entropy_now").requires_grad_(),
        logp_ref=packed("logp_ref"),
        response=torch.tensor([i for i, one in enumerate(responses) for _ in one.logp]),
        advantage=of_each("advantage"),
        group=of_each("group", torch.int64),
        reward=of_each("reward"),
        verified=of_each("verified", torch.bool),
        vocab_size=VOCAB_SIZE,
    )


def at_old_policy(responses: list[Response]) -> list[Response]:
    """The same responses with π_θ = π_old."""
    return [replace(one, logp=list(one.logp_old)) for one in responses]


def gradient_of(loss: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """d loss / d logp."""
    (gradient,) = torch.autograd.grad(loss, batch.logp)
    return gradient
