"""The objectives again, in plain Python floats: a loop over responses, gradients derived by hand.

Written from the papers' equations and the edge rules, sharing nothing with espo_core. Each function returns
the loss, its gradient by log π_θ in packed order, and how far the nearest ratio is from a bound of its trust
region.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from tests.espo_core.objectives.rollouts import VOCAB_SIZE, Response


@dataclass(kw_only=True)
class Expected:
    """What a reference found, and which branches it took on the way."""

    loss: float = 0.0
    gradient: list[float] = field(default_factory=list)
    margin: float = math.inf
    branches: set[str] = field(default_factory=set)


def ppo_min(found: Expected, ratio: float, advantage: float, low: float, high: float) -> tuple[float, bool]:
    """min(sA, clip(s, low, high)A), and whether its derivative by s is A (else 0)."""
    found.margin = min(found.margin, abs(ratio - low), abs(ratio - high))
    clipped = min(max(ratio, low), high)
    if clipped * advantage < ratio * advantage:
        found.branches.add("low" if ratio < low else "high")
        return clipped * advantage, False
    found.branches.add("zero" if advantage == 0 else "inside" if clipped == ratio else "outside and kept")
    return ratio * advantage, True


def grpo(
    responses: list[Response], *, epsilon_low: float = 0.2, epsilon_high: float = 0.2, beta: float = 0.0
) -> Expected:
    """DeepSeekMath, Eq. 3, with its penalty, Eq. 4."""
    found = Expected()
    for one in responses:
        weight = 1 / len(responses) / len(one.logp)
        for new, old, reference in zip(one.logp, one.logp_old, one.logp_ref, strict=True):
            ratio = math.exp(new - old)
            value, kept = ppo_min(found, ratio, one.advantage, 1 - epsilon_low, 1 + epsilon_high)
            x = reference - new
            found.loss -= weight * (value - beta * (math.exp(x) - x - 1))
            slope = (ratio * one.advantage if kept else 0.0) - beta * (1 - math.exp(x))
            found.gradient.append(-weight * slope)
    return found


def gspo(responses: list[Response], *, epsilon_low: float = 3e-4, epsilon_high: float = 4e-4) -> Expected:
    """GSPO, Eq. 5 and 7: one ratio a response."""
    found = Expected()
    for one in responses:
        n = len(one.logp)
        ratio = math.exp(sum(new - old for new, old in zip(one.logp, one.logp_old, strict=True)) / n)
        value, kept = ppo_min(found, ratio, one.advantage, 1 - epsilon_low, 1 + epsilon_high)
        found.loss -= value / len(responses)
        slope = ratio * one.advantage / n if kept else 0.0
        found.gradient += [-slope / len(responses)] * n
    return found


def espo(
    responses: list[Response],
    *,
    alpha: float = 0.02,
    quantiles: tuple[float, ...] = (0.8,),
    quantile_scope: str = "response",
    train_groups: str = "all",
    carrier: str = "current",
    epsilon_min: float = 0.0,
) -> Expected:
    """ESPO, Eq. 5 to 10."""
    found = Expected()
    levels = {"response": levels_in_response, "batch": levels_in_batch}[quantile_scope](responses, quantiles)
    for one, level_of in zip(responses, levels, strict=True):
        gradient = [0.0] * len(one.logp)
        groups = [[t for t, k in enumerate(level_of) if k == level] for level in range(len(quantiles) + 1)]
        groups = groups[-1:] if train_groups == "top" else groups
        groups = [group for group in groups if group]
        found.branches.add(f"{len(groups)} groups")
        for group in groups:
            entropy = sum(one.entropy[t] for t in group) / len(group)
            epsilon = max(epsilon_min, alpha / math.log(VOCAB_SIZE) * entropy)
            group_ratio = math.exp(sum(one.logp[t] - one.logp_old[t] for t in group) / len(group))
            weight = 1 / len(responses) / len(groups) / len(group)
            for t in group:
                own = math.exp(one.logp[t] - one.logp_old[t])
                ratio = group_ratio * (own if carrier == "old" else 1.0)
                value, kept = ppo_min(found, ratio, one.advantage, 1 - epsilon, 1 + epsilon)
                found.loss -= weight * value
                gradient[t] = -weight * ratio * one.advantage if kept else 0.0
        found.gradient += gradient
    return found


def levels_in_response(responses: list[Response], quantiles: tuple[float, ...]) -> list[list[int]]:
    """The entropy level of each token, ranked in its response, the earlier of equals higher."""
    return [_levels_of_one(one.entropy, quantiles) for one in responses]


def _levels_of_one(entropy: list[float], quantiles: tuple[float, ...]) -> list[int]:
    ascending = sorted(range(len(entropy)), key=lambda t: (entropy[t], -t))
    levels = [0] * len(entropy)
    for rank, t in enumerate(ascending):
        levels[t] = sum(rank >= start for start in _starts(quantiles, len(entropy)))
    return levels


def levels_in_batch(responses: list[Response], quantiles: tuple[float, ...]) -> list[list[int]]:
    """The same ranked over all tokens; those equal in entropy and position take their highest rank."""
    keys = [[(e, -t) for t, e in enumerate(one.entropy)] for one in responses]
    ascending = sorted(key for row in keys for key in row)
    highest_rank = {key: rank for rank, key in enumerate(ascending)}
    starts = _starts(quantiles, len(ascending))
    return [[sum(highest_rank[key] >= start for start in starts) for key in row] for row in keys]


def _starts(quantiles: tuple[float, ...], n: int) -> list[int]:
    return [int(Decimal(str(q)) * n) for q in quantiles]


Reference = Callable[..., Expected]
