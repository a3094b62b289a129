"""Token ratios under a hard clip: GRPO, Dr.GRPO and DAPO."""

import math

from tests.espo_core.objectives.references.expected import Expected, pairs, ppo_min
from tests.espo_core.objectives.rollouts import Response


def grpo(
    responses: list[Response],
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
    kl_coefficient: float = 0.0,
) -> Expected:
    """DeepSeekMath, Eq. 3, with its penalty, Eq. 4: the mean over responses of their token-means."""
    found = Expected()
    bounds = (1 - epsilon_low, 1 + epsilon_high)
    for one in responses:
        weight = 1 / len(responses) / len(one.logp)
        _add_response(found, one, weight, bounds, dual_clip)
        _penalise(found, one, weight, kl_coefficient)
    return found


def dr_grpo(
    responses: list[Response],
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
    length: int = 1024,
    kl_coefficient: float = 0.0,
) -> Expected:
    """Dr.GRPO, Section 3.2: every token weighs 1/(R L), however long its response is."""
    found = Expected()
    for one in responses:
        weight = 1 / len(responses) / length
        _add_response(found, one, weight, (1 - epsilon_low, 1 + epsilon_high), dual_clip)
        _penalise(found, one, weight, kl_coefficient)
    return found


def dapo(
    responses: list[Response],
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    dual_clip: float | None = None,
) -> Expected:
    """DAPO, Eq. 8: every token of the batch weighs the same."""
    found = Expected()
    tokens = sum(len(one.logp) for one in responses)
    for one in responses:
        _add_response(found, one, 1 / tokens, (1 - epsilon_low, 1 + epsilon_high), dual_clip)
    return found


def _add_response(
    found: Expected, one: Response, weight: float, bounds: tuple[float, float], cap: float | None
) -> None:
    for new, old in pairs(one):
        ratio = math.exp(new - old)
        value, derivative, removed = ppo_min(found, ratio, one.advantage, *bounds)
        if cap is not None and one.advantage < 0:
            found.margin = min(found.margin, abs(ratio - cap))
            if value < cap * one.advantage:
                value, derivative, removed = cap * one.advantage, 0.0, "high"
                found.branches.add("dual")
        slope = derivative * ratio
        found.add(
            weight=weight, value=value, slope=slope, ratio=ratio, removed=removed, advantage=one.advantage
        )


def _penalise(found: Expected, one: Response, weight: float, beta: float) -> None:
    """β times the k3 estimate, on the tokens that were added last."""
    first = len(found.gradient) - len(one.logp)
    for t, (new, reference) in enumerate(zip(one.logp, one.logp_ref, strict=True)):
        x = reference - new
        found.loss += weight * beta * (math.exp(x) - x - 1)
        found.gradient[first + t] += weight * beta * (1 - math.exp(x))
