"""One ratio a response: GSPO, GSPO-token, GMPO and SSPO.

Where the ratio is exp of a mean of g(ℓ_t) over n tokens, W moves by W g'(ℓ_t)/n with token t; as all n tokens
carry the value W A, each with weight 1/(R n), the slope of token t by unit of that weight is W A g'(ℓ_t).
"""

import math

from tests.espo_core.objectives.references.expected import Expected, pairs, ppo_min
from tests.espo_core.objectives.rollouts import Response


def gspo(responses: list[Response], *, epsilon_low: float = 3e-4, epsilon_high: float = 4e-4) -> Expected:
    """GSPO, Eq. 5 and 7; GSPO-token, Eq. 13 and 14, with one advantage a response is the same."""
    found = Expected()
    for one in responses:
        n = len(one.logp)
        ratio = math.exp(math.fsum(new - old for new, old in pairs(one)) / n)
        value, derivative, removed = ppo_min(found, ratio, one.advantage, 1 - epsilon_low, 1 + epsilon_high)
        for _ in range(n):
            found.add(
                weight=1 / len(responses) / n,
                value=value,
                slope=derivative * ratio,
                ratio=ratio,
                removed=removed,
                advantage=one.advantage,
            )
    return found


def gmpo(responses: list[Response], *, log_bound: float = 0.4) -> Expected:
    """GMPO, Eq. 4: ℓ is cut before the mean, where it would earn more, and has no gradient there."""
    found = Expected()
    for one in responses:
        gated = [_cut(found, new - old, one.advantage, log_bound) for new, old in pairs(one)]
        ratio = math.exp(math.fsum(log for log, _ in gated) / len(gated))
        for _, removed in gated:
            found.add(
                weight=1 / len(responses) / len(gated),
                value=ratio * one.advantage,
                slope=0.0 if removed else ratio * one.advantage,
                ratio=ratio,
                removed=removed,
                advantage=one.advantage,
            )
    return found


def _cut(found: Expected, log: float, advantage: float, bound: float) -> tuple[float, str]:
    found.margin = min(found.margin, abs(log - bound), abs(log + bound))
    if advantage > 0 and log > bound:
        found.branches.add("high")
        return bound, "high"
    if advantage < 0 and log < -bound:
        found.branches.add("low")
        return -bound, "low"
    inside = abs(log) <= bound
    found.branches.add("zero" if advantage == 0 else "inside" if inside else "outside and kept")
    return log, ""


def sspo(
    responses: list[Response],
    *,
    gate: str = "sigmoid",
    temperature_positive: float = 1.0,
    temperature_negative: float = 1.05,
    kappa: float = 1.0,
) -> Expected:
    """SSPO as rebuilt: W = exp(mean g(ℓ)), g = log[(4/τ) σ(τ(r − 1))] or arctan(κℓ)/κ; no other bound."""
    found = Expected()
    for one in responses:
        tau = temperature_positive if one.advantage > 0 else temperature_negative
        found.branches.add("positive" if one.advantage > 0 else "zero" if one.advantage == 0 else "negative")
        logs = [new - old for new, old in pairs(one)]
        gated = [_arctan(log, kappa) if gate == "arctan" else _sigmoid(log, tau) for log in logs]
        ratio = math.exp(math.fsum(value for value, _ in gated) / len(gated))
        for _, derivative in gated:
            found.add(
                weight=1 / len(responses) / len(gated),
                value=ratio * one.advantage,
                slope=ratio * one.advantage * derivative,
                ratio=ratio,
                advantage=one.advantage,
            )
    return found


def _sigmoid(log: float, tau: float) -> tuple[float, float]:
    """log[(4/τ) σ(τ(r − 1))] and its derivative by ℓ, (1 − σ) τ r."""
    ratio = math.exp(log)
    sigma = 1 / (1 + math.exp(-tau * (ratio - 1)))
    return math.log(4 / tau * sigma), (1 - sigma) * tau * ratio


def _arctan(log: float, kappa: float) -> tuple[float, float]:
    return math.atan(kappa * log) / kappa, 1 / (1 + (kappa * log) ** 2)
