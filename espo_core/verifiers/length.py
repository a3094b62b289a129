"""Length of a completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from espo_core.verifiers.base import Row, Verdict, VerifierConfig, VerifierEntry


class LengthConfig(VerifierConfig):
    """Parameters of `length`."""

    unit: Literal["characters", "words"] = "characters"
    """What is counted."""
    full_until: Annotated[int, Field(ge=0, le=1_000_000)] = 2_000
    """Up to this length the score is 1."""
    zero_from: Annotated[int, Field(ge=1, le=1_000_000)] = 4_000
    """From this length on the score is 0; between the two it falls linearly."""

    @model_validator(mode="after")
    def _is_falling(self) -> Self:
        if self.zero_from <= self.full_until:
            raise ValueError(f"zero_from ({self.zero_from}) must be above full_until ({self.full_until})")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Scores n characters or words as clip((zero_from − n) / (zero_from − full_until), 0, 1).

    The shape of DAPO's overlong penalty (arXiv:2503.14476v2, Eq. (13)), moved from [−1, 0] to [0, 1].
    """

    config: LengthConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        count = len(completion if self.config.unit == "characters" else completion.split())
        share = (self.config.zero_from - count) / (self.config.zero_from - self.config.full_until)
        return Verdict(score=min(1.0, max(0.0, share)), verified=True)


def build(config: LengthConfig) -> Length:
    """Returns the verifier."""
    return Length(config=config)


ENTRY = VerifierEntry(
    name="length",
    summary="The completion is not overlong: 1 up to a length, then falling linearly to 0.",
    config=LengthConfig,
    build=build,
)
