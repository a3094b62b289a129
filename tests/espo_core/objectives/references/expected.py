"""What a reference finds, gathered token by token in packed order, and the metrics that follow from it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.espo_core.objectives.rollouts import Response


@dataclass(kw_only=True)
class Expected:
    """The loss, its gradients, and which branches were taken on the way."""

    loss: float = 0.0
    gradient: list[float] = field(default_factory=list)
    """d loss / d log π_θ of each token."""
    entropy_gradient: list[float] = field(default_factory=list)
    """d loss / d H of each token, where the objective has an entropy bonus."""
    ratio: list[float] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    """Whether a token has an advantage and a weight."""
    removed: list[str] = field(default_factory=list)
    """Why a trained token gets no gradient: "low", "high" or "" for one that gets it."""
    margin: float = math.inf
    """How near the nearest ratio came to a bound, or a search to its target."""
    branches: set[str] = field(default_factory=set)

    def add(
        self, *, weight: float, value: float, slope: float, ratio: float, removed: str = "", advantage: float
    ) -> None:
        """One token of the surrogate; `slope` is what its log-probability moves in all of the batch's value,
        by unit of its own weight."""
        trained = advantage != 0 and weight != 0
        self.loss -= weight * value
        self.gradient.append(-weight * slope)
        self.ratio.append(ratio)
        self.trained.append(trained)
        self.removed.append(removed if trained else "")

    def metrics(self, responses: list[Response]) -> dict[str, float]:
        """The metrics that every objective reports."""
        tokens, trained = len(self.ratio), sum(self.trained)
        removed = {side: self.removed.count(side) for side in ("low", "high")}
        moved = [now - before for one in responses for now, before in pairs(one)]
        return {
            "clip_fraction": sum(removed.values()) / trained if trained else 0.0,
            "clip_fraction_low": removed["low"] / trained if trained else 0.0,
            "clip_fraction_high": removed["high"] / trained if trained else 0.0,
            "gradient_utilisation": (trained - sum(removed.values())) / tokens,
            "ratio_mean": math.fsum(self.ratio) / tokens,
            "ratio_max": max(self.ratio),
            "approx_kl": math.fsum(math.exp(x) - 1 - x for x in moved) / tokens,
        }


Reference = Callable[..., Expected]


def pairs(one: Response) -> Iterator[tuple[float, float]]:
    """Yields (log π_θ, log π_old) of each token."""
    yield from zip(one.logp, one.logp_old, strict=True)


def ppo_min(
    found: Expected, ratio: float, advantage: float, low: float, high: float
) -> tuple[float, float, str]:
    """min(sA, clip(s, low, high)A), its derivative by s, and the bound that removed it ("" where none)."""
    found.margin = min(found.margin, abs(ratio - low), abs(ratio - high))
    clipped = min(max(ratio, low), high)
    if clipped * advantage < ratio * advantage:
        side = "low" if ratio < low else "high"
        found.branches.add(side)
        return clipped * advantage, 0.0, side
    found.branches.add("zero" if advantage == 0 else "inside" if clipped == ratio else "outside and kept")
    return ratio * advantage, advantage, ""
