"""BAPO: token ratios under bounds that are searched for on the whole batch."""

import math

from tests.espo_core.objectives.references.expected import Expected, pairs, ppo_min
from tests.espo_core.objectives.rollouts import Response

Terms = list[tuple[float, float]]
"""(ratio, advantage) of each token."""


def bapo(
    responses: list[Response],
    *,
    low_start: float = 0.6,
    low_end: float = 0.9,
    low_step: float = 0.02,
    high_start: float = 1.2,
    high_end: float = 3.0,
    high_step: float = 0.05,
    positive_share: float = 0.4,
    measure: str = "value",
    order: str = "high_first",
) -> Expected:
    """BAPO, Eq. 8 and Algorithm 1, the mean over all tokens of the batch."""
    found = Expected()
    terms = [(math.exp(new - old), one.advantage) for one in responses for new, old in pairs(one)]
    low, high = low_start, high_start
    while (share := _share(terms, low, high, measure)) < positive_share:
        found.margin = min(found.margin, positive_share - share)
        may_rise, may_lift = high < high_end, low < low_end
        if not (may_rise or may_lift):
            found.branches.add("never balanced")
            break
        if may_rise and (order == "high_first" or not may_lift):
            high = min(high + high_step, high_end)
            found.branches.add("high raised")
        else:
            low = min(low + low_step, low_end)
            found.branches.add("low raised")
    else:
        found.margin = min(found.margin, share - positive_share)
    found.branches.add("nothing to raise" if (low, high) == (low_start, high_start) else "raised")
    for one in responses:
        _add_response(found, one, 1 / len(terms), low, high)
    return found


def _share(terms: Terms, low: float, high: float, measure: str) -> float:
    """ρ, the part of the positive tokens in the sum of all tokens' weight; 1 where there is none."""
    unseen = Expected()
    good = bad = 0.0
    for ratio, advantage in terms:
        value, derivative, _ = ppo_min(unseen, ratio, advantage, low, high)
        size = abs(value) if measure == "value" else abs(derivative * ratio)
        good, bad = (good + size, bad) if advantage > 0 else (good, bad + size)
    return good / (good + bad) if good + bad else 1.0


def _add_response(found: Expected, one: Response, weight: float, low: float, high: float) -> None:
    for new, old in pairs(one):
        ratio = math.exp(new - old)
        value, derivative, removed = ppo_min(found, ratio, one.advantage, low, high)
        found.add(
            weight=weight,
            value=value,
            slope=derivative * ratio,
            ratio=ratio,
            removed=removed,
            advantage=one.advantage,
        )
