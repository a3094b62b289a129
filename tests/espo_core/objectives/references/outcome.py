"""What reads the rewards of a whole prompt group beside the advantage: ETR, AER and ARM, as rebuilt."""

import math
import statistics

from tests.espo_core.objectives.references.clipped import grpo
from tests.espo_core.objectives.references.expected import Expected, pairs, ppo_min
from tests.espo_core.objectives.rollouts import Response, mates


def etr(
    responses: list[Response],
    *,
    epsilon: float = 0.2,
    lambda_micro: float = 0.5,
    lambda_macro: float = 0.5,
) -> Expected:
    """ε_i = ε_0 (1 + λ_micro tanh|A_i|) (1 + λ_macro 4 p (1 − p)), p the group's mean reward in [0, 1]."""
    found = Expected()
    for one in responses:
        p = min(max(_group_mean(found, responses, one), 0.0), 1.0)
        bound = epsilon * (1 + lambda_micro * math.tanh(abs(one.advantage)))
        bound *= 1 + lambda_macro * 4 * p * (1 - p)
        for new, old in pairs(one):
            ratio = math.exp(new - old)
            value, derivative, removed = ppo_min(found, ratio, one.advantage, 1 - bound, 1 + bound)
            found.add(
                weight=1 / len(responses) / len(one.logp),
                value=value,
                slope=derivative * ratio,
                ratio=ratio,
                removed=removed,
                advantage=one.advantage,
            )
    return found


def aer(
    responses: list[Response],
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    coefficient: float = 0.01,
    difficulty: float = 1.0,
) -> Expected:
    """GRPO plus α (ρ − p)_+ H_t on each token, with GRPO's weights."""
    found = grpo(responses, epsilon_low=epsilon_low, epsilon_high=epsilon_high)
    for one in responses:
        p = min(max(_group_mean(found, responses, one), 0.0), 1.0)
        found.branches.add("bonus" if p < difficulty else "no bonus")
        strength = coefficient * max(0.0, difficulty - p) / len(responses) / len(one.logp)
        for entropy in one.entropy_now:
            found.loss -= strength * entropy
            found.entropy_gradient.append(-strength)
    return found


def aer_coefficients(
    entropies: list[float], *, initial: float, rate: float, target_fraction: float
) -> list[float]:
    """α before each rollout batch and after the last, from the batches' mean entropies."""
    target = target_fraction * entropies[0]
    coefficients = [initial]
    for entropy in entropies:
        coefficients.append(max(0.0, coefficients[-1] + rate * (target - entropy)))
    return coefficients


def arm(
    responses: list[Response],
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    weight: float = 1.0,
    least_probable: float = 0.2,
) -> Expected:
    """PPO-min on A_i + a (c(q) − c(y_i)), the mean over all tokens of the batch."""
    found = Expected()
    tokens = sum(len(one.logp) for one in responses)
    for one in responses:
        advantage = reweighted(found, responses, one, weight=weight, least_probable=least_probable)
        for new, old in pairs(one):
            ratio = math.exp(new - old)
            value, derivative, removed = ppo_min(found, ratio, advantage, 1 - epsilon_low, 1 + epsilon_high)
            found.add(
                weight=1 / tokens,
                value=value,
                slope=derivative * ratio,
                ratio=ratio,
                removed=removed,
                advantage=advantage,
            )
    return found


def reweighted(
    found: Expected, responses: list[Response], one: Response, *, weight: float, least_probable: float
) -> float:
    """A_i + a (c(q) − c(y_i)) for the verified of a group with a success, else A_i."""
    verified = mates(responses, one)
    if not one.verified:
        found.branches.add("unverified")
        return one.advantage
    if not any(mate.reward > 0 for mate in verified):
        found.branches.add("no success")
        return one.advantage
    found.branches.add("equal rewards" if len({mate.reward for mate in verified}) == 1 else "contrast")
    mean = statistics.fmean(confidence(mate, least_probable) for mate in verified)
    return one.advantage + weight * (mean - confidence(one, least_probable))


def confidence(one: Response, least_probable: float) -> float:
    """exp of the mean log π_old of the ⌈share · |y|⌉ least probable tokens."""
    count = math.ceil(round(least_probable * len(one.logp_old), 9))
    return math.exp(statistics.fmean(sorted(one.logp_old)[:count]))


def _group_mean(found: Expected, responses: list[Response], one: Response) -> float:
    """Mean reward of the verified responses to the prompt, 0 where there is none."""
    rewards = [mate.reward for mate in mates(responses, one)]
    found.branches.add(
        "no verdict"
        if not rewards
        else "unverified"
        if not one.verified
        else "equal rewards"
        if len(set(rewards)) == 1
        else "contrast"
    )
    return statistics.fmean(rewards) if rewards else 0.0
