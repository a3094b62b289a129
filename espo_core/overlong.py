"""The penalty on responses that come near the limit of tokens, arXiv:2503.14476v2, Eq. (13).

Legend: R responses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from espo_contracts.rollout import RolloutSpec
from espo_core.rewards import Scored
from espo_core.rollout.engine import Rollout

PART = "overlong"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlongPenalty:
    """0 up to L_max − L_cache tokens, then ((L_max − L_cache) − |y|) / L_cache, which is −1 at L_max.

    It shapes what is trained on. Accuracy, on held-out prompts and in `reward/mean`, does not know it.
    """

    limit: int
    """L_max, where a response is truncated."""
    margin: int
    """L_cache; 0 is off."""
    weight: float
    """The reward changes by weight · penalty."""

    @staticmethod
    def of(spec: RolloutSpec) -> OverlongPenalty:
        """A job's penalty on overlong responses, of margin 0 where it has none."""
        margin, weight = (spec.overlong.tokens, spec.overlong.weight) if spec.overlong else (0, 0.0)
        return OverlongPenalty(limit=spec.max_new_tokens, margin=margin, weight=weight)

    def scores(self, rollout: Rollout) -> Tensor:
        """[R] float32 in [−1, 0], on the CPU."""
        free = self.limit - self.margin
        return ((free - rollout.lengths.cpu().float()) / max(1, self.margin)).clamp(-1, 0)

    def applied(self, scored: Scored, rollout: Rollout) -> Scored:
        """The scores with the penalty in the reward and among its parts."""
        if not self.margin:
            return scored
        scores = [
            replace(score, reward=score.reward + self.weight * penalty, parts=score.parts | {PART: penalty})
            for score, penalty in zip(scored.scores, self.scores(rollout).tolist(), strict=True)
        ]
        return replace(scored, scores=scores)

    def metrics(self, rollout: Rollout) -> dict[str, float]:
        """What it takes from the mean reward."""
        if not self.margin:
            return {}
        return {"reward/overlong_penalty_mean": self.weight * self.scores(rollout).mean().item()}
