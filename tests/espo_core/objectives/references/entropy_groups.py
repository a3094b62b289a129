"""ESPO: the ratio and the trust region of a group of tokens of similar entropy."""

import math
from decimal import Decimal

from tests.espo_core.objectives.references.expected import Expected, ppo_min
from tests.espo_core.objectives.rollouts import VOCAB_SIZE, Response


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
        groups = [[t for t, k in enumerate(level_of) if k == level] for level in range(len(quantiles) + 1)]
        counted = [group for group in (groups[-1:] if train_groups == "top" else groups) if group]
        found.branches.add(f"{len(counted)} groups")
        for t in range(len(one.logp)):
            (group,) = (group for group in groups if t in group)
            entropy = sum(one.entropy[u] for u in group) / len(group)
            epsilon = max(epsilon_min, alpha / math.log(VOCAB_SIZE) * entropy)
            ratio = math.exp(sum(one.logp[u] - one.logp_old[u] for u in group) / len(group))
            if carrier == "old":
                ratio *= math.exp(one.logp[t] - one.logp_old[t])
            weight = 1 / len(responses) / len(counted) / len(group) if group in counted else 0.0
            seen = found if weight else Expected()
            value, derivative, removed = ppo_min(seen, ratio, one.advantage, 1 - epsilon, 1 + epsilon)
            found.add(
                weight=weight,
                value=value,
                slope=derivative * ratio,
                ratio=ratio,
                removed=removed,
                advantage=one.advantage,
            )
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
