"""Paired comparisons: Student's t intervals, p-values, and Holm's correction for their number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The mean of paired differences with its 95 % interval."""

    mean: float
    half_width: float
    """Infinite with fewer than two pairs."""
    p: float
    """Two-sided."""
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def paired(differences: Sequence[float]) -> Paired:
    """The comparison of two methods over the pairs that both have.

    Raises:
        ValueError: there is no pair.
    """
    n = len(differences)
    if n == 0:
        raise ValueError("a comparison needs a pair")
    mean = statistics.fmean(differences)
    if n == 1:
        return Paired(mean=mean, half_width=math.inf, p=1.0, n=1)
    error = statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        return Paired(mean=mean, half_width=0.0, p=1.0 if mean == 0 else 0.0, n=n)
    p = two_sided_p(mean / error, freedom=n - 1)
    return Paired(mean=mean, half_width=critical(n - 1) * error, p=p, n=n)


def two_sided_p(t: float, *, freedom: int) -> float:
    """P(|T| > |t|) of Student's distribution: the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (k - 1) / k * cosine * cosine
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1.0 - inside))


def critical(freedom: int, *, level: float = 0.05) -> float:
    """The t that |T| exceeds with probability `level`, by bisection."""
    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        if two_sided_p(middle, freedom=freedom) > level:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Corrected p-values: the k-th smallest times the number not yet passed, never falling, at most 1."""
    corrected, highest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p * (len(p_values) - place)))
        corrected[name] = highest
    return corrected
