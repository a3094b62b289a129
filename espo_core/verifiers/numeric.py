"""A number within a tolerance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from espo_contracts.spec import Column
from espo_core.verifiers.base import (
    UNVERIFIED,
    WRONG,
    Row,
    Verdict,
    VerifierConfig,
    VerifierEntry,
    verdict_of,
)
from espo_core.verifiers.text import answer_part, reference_text

# Thousands separated by commas, or plain digits; then decimals and an exponent. Each repeat is bounded and no
# two of them can match the same character, so the search is linear in the text.
NUMBER = re.compile(
    r"-?(?:\d{1,3}(?:,\d{3}){1,6}(?!\d)|\d{1,400})(?:\.\d{1,400})?(?:[eE][-+]?\d{1,3})?|-?\.\d{1,400}"
)


class NumericConfig(VerifierConfig):
    """Parameters of `numeric`."""

    reference: Column = "answer"
    """Column of the data row that holds the right number (a number, or text that ends in one)."""
    answer_after: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Read only what follows the last occurrence of this marker, such as `####`; without it all text."""
    take: Literal["last", "first", "only"] = "last"
    """Which number of the text is the answer; `only` asks that the text be one number and nothing else."""
    absolute_tolerance: Annotated[float, Field(ge=0, le=1e12)] = 1e-6
    """Accepted distance from the reference."""
    relative_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Accepted distance as a share of the reference."""


def number_in(text: str, take: Literal["last", "first", "only"]) -> float | None:
    """Returns the chosen number of a text, or None where there is none that a float can hold."""
    if take == "only":
        match = NUMBER.fullmatch(text.strip())
        found = [match.group()] if match else []
    else:
        found = NUMBER.findall(text)
    if not found:
        return None
    value = float(found[0 if take == "first" else -1].replace(",", ""))
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """Judges a number x right, for a reference r, if |x − r| ≤ max(absolute, relative·|r|)."""

    config: NumericConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        reference = number_in(reference_text(row, self.config.reference) or "", "last")
        if reference is None:
            return UNVERIFIED
        answer = answer_part(completion, self.config.answer_after)
        number = None if answer is None else number_in(answer, self.config.take)
        if number is None:
            return WRONG
        bound = max(self.config.absolute_tolerance, self.config.relative_tolerance * abs(reference))
        return verdict_of(abs(number - reference) <= bound)


def build(config: NumericConfig) -> Numeric:
    """Returns the verifier."""
    return Numeric(config=config)


ENTRY = VerifierEntry(
    name="numeric",
    summary="The number in the completion equals the reference within a tolerance.",
    config=NumericConfig,
    build=build,
)
