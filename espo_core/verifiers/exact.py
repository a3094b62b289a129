"""Exact text equality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

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


class ExactConfig(VerifierConfig):
    """Parameters of `exact`."""

    reference: Column = "answer"
    """Column of the data row that holds the right text."""
    answer_after: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Compare only what follows the last occurrence of this marker, such as `####`; without it all text."""
    ignore_case: bool = False
    """Compare without regard to upper and lower case."""
    ignore_spacing: bool = True
    """Treat each run of white space as one space, and none at the ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Judges a completion right if its text is the reference."""

    config: ExactConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        reference = reference_text(row, self.config.reference)
        if reference is None:
            return UNVERIFIED
        answer = answer_part(completion, self.config.answer_after)
        if answer is None:
            return WRONG
        return verdict_of(self._normal(answer) == self._normal(reference))

    def _normal(self, text: str) -> str:
        if self.config.ignore_spacing:
            text = " ".join(text.split())
        return text.casefold() if self.config.ignore_case else text


def build(config: ExactConfig) -> Exact:
    """Returns the verifier."""
    return Exact(config=config)


ENTRY = VerifierEntry(
    name="exact",
    summary="The completion is the reference, character by character.",
    config=ExactConfig,
    build=build,
)
