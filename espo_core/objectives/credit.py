"""One advantage per response made into one per token, or weighted anew, over a whole rollout batch.

A credit part maps a batch to [T] advantages. It reads the old policy only, so that one computation serves all
mini-batches. Legend: T tokens, R responses, 𝒢 the verified responses of one prompt group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.advantage import centre
from espo_core.objectives.segments import floor_product, segment_mean, segment_rank, segment_size


class CreditPart(Protocol):
    """The advantage of each token."""

    @property
    def requires(self) -> frozenset[str]:
        """Names of the optional TokenBatch fields that it reads."""
        ...

    def __call__(self, batch: TokenBatch) -> Tensor:
        """[T] advantages in place of the response's."""
        ...


@runtime_checkable
class AdaptivePart(Protocol):
    """A part that learns from each rollout batch and must be kept in a checkpoint; itself immutable."""

    def observed(self, batch: TokenBatch) -> Self:
        """The part for the next rollout batch."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        ...

    def restored(self, state: Mapping[str, Tensor]) -> Self:
        """The part as it was when the state was kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceReweighting:
    """Ã_i = Â_i + a (c(q) − c(y_i)) where 𝒢 has a success, arXiv:2602.05281v2.

    c(y) = exp(mean log π_old) over the least probable tokens of y, ⌈share · |y|⌉ of them; c(q) is the mean of
    c over 𝒢, so the least confident responses gain what the most confident lose. A success is a verified
    reward above 0. The form is from secondary notes. Unverified responses keep Â = 0.
    """

    weight: float
    """a."""
    least_probable: float
    """Share of a response's tokens that its confidence is read from."""
    requires: ClassVar[frozenset[str]] = frozenset({"reward", "group"})

    def __call__(self, batch: TokenBatch) -> Tensor:
        centred = centre(*batch.outcomes())
        confidence = centre(self._confidence(batch), *batch.outcomes()[1:])
        success = centred.reward * centred.verified > 0
        successes = segment_size(centred.group[success], segments=len(centred.size))
        shift = self.weight * confidence.deviation * (successes > 0)[centred.group]
        return batch.per_token(batch.advantage - shift)

    def _confidence(self, batch: TokenBatch) -> Tensor:
        """[R] c(y_i)."""
        rank = segment_rank(batch.logp_old, segment=batch.response, segments=batch.responses)
        length = segment_size(batch.response, segments=batch.responses)
        count = -floor_product(self.least_probable, -length)
        chosen = rank < batch.per_token(count)
        segment = batch.response[chosen]
        size = segment_size(segment, segments=batch.responses)
        return segment_mean(batch.logp_old[chosen], segment=segment, size=size).exp()
