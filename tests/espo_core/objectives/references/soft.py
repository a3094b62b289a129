"""Token ratios without a hard clip of the gradient: CISPO and SAPO."""

import math

from tests.espo_core.objectives.references.expected import Expected, pairs
from tests.espo_core.objectives.rollouts import Response


def cispo(
    responses: list[Response], *, epsilon_low: float | None = None, epsilon_high: float = 4.0
) -> Expected:
    """MiniMax-M1, Eq. 4 and 5: sg[clip(r)] A log π, the mean over all tokens of the batch."""
    found = Expected()
    tokens = sum(len(one.logp) for one in responses)
    low, high = (0.0 if epsilon_low is None else 1 - epsilon_low), 1 + epsilon_high
    for one in responses:
        for new, old in pairs(one):
            ratio = math.exp(new - old)
            capped = min(max(ratio, low), high)
            found.branches.add("inside" if capped == ratio else "low" if ratio < low else "high")
            found.branches.add(_sign(one.advantage))
            found.add(
                weight=1 / tokens,
                value=capped * one.advantage * new,
                slope=capped * one.advantage,
                ratio=ratio,
                advantage=one.advantage,
            )
    return found


def sapo(
    responses: list[Response], *, temperature_positive: float = 1.0, temperature_negative: float = 1.05
) -> Expected:
    """SAPO, Eq. 5: f(r) A with f = (4/τ) σ(τ(r − 1)), whose derivative by r is 4 σ (1 − σ)."""
    found = Expected()
    for one in responses:
        tau = temperature_positive if one.advantage > 0 else temperature_negative
        found.branches.add(_sign(one.advantage))
        for new, old in pairs(one):
            ratio = math.exp(new - old)
            sigma = 1 / (1 + math.exp(-tau * (ratio - 1)))
            found.add(
                weight=1 / len(responses) / len(one.logp),
                value=4 / tau * sigma * one.advantage,
                slope=4 * sigma * (1 - sigma) * ratio * one.advantage,
                ratio=ratio,
                advantage=one.advantage,
            )
    return found


def _sign(advantage: float) -> str:
    return "positive" if advantage > 0 else "zero" if advantage == 0 else "negative"
