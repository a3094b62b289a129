"""The entropy-trajectory baseline: a ridge regression at each position, solved by elimination."""

import statistics
from dataclasses import dataclass, field

from tests.espo_core.objectives.rollouts import Response, mates

POSITIONS = 64
FEATURES = 7
Row = tuple[list[float], float, float]
"""(φ, R − m, what its batch is still worth)."""


@dataclass(kw_only=True)
class History:
    """What past batches leave: rows by position, and the rewards' range."""

    decay: float = 0.9
    ridge: float = 30.0
    rows: dict[int, list[Row]] = field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0
    branches: set[str] = field(default_factory=set)

    def observe(self, responses: list[Response]) -> None:
        """Every row so far loses worth, and those of the verified in groups with contrast are added."""
        faded = {place: [(f, y, w * self.decay) for f, y, w in rows] for place, rows in self.rows.items()}
        self.rows = faded
        for one in responses:
            self.low, self.high = (min(self.low, _seen(one)), max(self.high, _seen(one)))
            if not has_contrast(responses, one):
                continue
            base = leave_one_out_mean(responses, one)
            for t, features in enumerate(features_of(one, base)):
                rows = self.rows.setdefault(min(t, POSITIONS - 1), [])
                rows.append((features, one.reward - base, 1.0))

    def advantages(self, responses: list[Response]) -> list[list[float]]:
        """(R − V_t) (n − 1)/n / (std + δ) of each token of each response."""
        return [self._advantages_of(responses, one) for one in responses]

    def _advantages_of(self, responses: list[Response], one: Response) -> list[float]:
        if not has_contrast(responses, one):
            return [0.0] * len(one.logp)
        rewards = [mate.reward for mate in mates(responses, one)]
        scale = (len(rewards) - 1) / len(rewards) / (statistics.stdev(rewards) + 1e-6)
        base = leave_one_out_mean(responses, one)
        found = []
        for t, features in enumerate(features_of(one, base)):
            weights = self._weights(min(t, POSITIONS - 1))
            value = base + sum(w * f for w, f in zip(weights, features, strict=True))
            clipped = min(max(value, self.low), self.high)
            self.branches.add("inside" if clipped == value else "low" if value < self.low else "high")
            found.append((one.reward - clipped) * scale)
        return found

    def _weights(self, place: int) -> list[float]:
        rows = self.rows.get(place, [])
        count = max(1.0, sum(worth for _, _, worth in rows))
        span = range(FEATURES)
        matrix = [[sum(w * f[i] * f[j] for f, _, w in rows) for j in span] for i in span]
        for i in span:
            matrix[i][i] += self.ridge * matrix[i][i] / count + 1e-9
        return solve(matrix, [sum(w * f[i] * y for f, y, w in rows) for i in span])


def features_of(one: Response, base: float) -> list[list[float]]:
    """φ_t of each token, which knows what came before it and its own entropy."""
    rows = []
    for t, entropy in enumerate(one.entropy):
        logps, entropies = one.logp_old[:t], one.entropy[:t]
        past = [logps[-1], sum(logps), sum(entropies), max(entropies)] if t else [0.0] * 4
        rows.append([1.0, 2 * (base - 0.5), entropy, *past])
    return rows


def leave_one_out_mean(responses: list[Response], one: Response) -> float:
    """Mean reward of the other verified responses to the prompt."""
    return statistics.fmean(mate.reward for mate in mates(responses, one) if mate is not one)


def has_contrast(responses: list[Response], one: Response) -> bool:
    """Whether the response was verified in a group whose rewards differ."""
    return one.verified and len({mate.reward for mate in mates(responses, one)}) > 1


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x of matrix · x = right by elimination with the largest pivot of each column."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for r in range(size):
            if r != column:
                factor = rows[r][column] / rows[column][column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[column], strict=True)]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def _seen(one: Response) -> float:
    return one.reward if one.verified else 0.0
