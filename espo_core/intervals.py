"""95 % intervals of accuracies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054  # of the 97.5 % quantile of the normal distribution
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over n prompts with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def estimate(scores: Sequence[Sequence[float]]) -> Estimate:
    """The mean over prompts of their responses' mean score, with its interval.

    Wilson's where each prompt is wholly right or wrong; else the bootstrap over prompts, because responses to
    one prompt are not independent.
    """
    means = [sum(one) / len(one) for one in scores]
    if all(mean in (0.0, 1.0) for mean in means):
        return wilson(successes=round(sum(means)), n=len(means))
    return bootstrap(means)


def wilson(*, successes: int, n: int) -> Estimate:
    """Wilson's score interval: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)."""
    p, square = successes / n, Z * Z / n
    middle = (p + square / 2) / (1 + square)
    half = Z * math.sqrt(p * (1 - p) / n + square / (4 * n)) / (1 + square)
    # At 0 and 1 one end is the mean itself, which rounding would miss.
    return Estimate(mean=p, low=min(p, max(0.0, middle - half)), high=max(p, min(1.0, middle + half)), n=n)


def bootstrap(means: Sequence[float]) -> Estimate:
    """Percentiles of the mean of prompts drawn again with replacement, the same every time."""
    values, generator = np.asarray(means), np.random.default_rng(0)
    drawn = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high), n=len(values))
