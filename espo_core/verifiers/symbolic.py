"""Mathematical equivalence, judged by math-verify (https://github.com/huggingface/Math-Verify)."""

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
)
from espo_core.verifiers.sandbox import SANDBOX
from espo_core.verifiers.text import answer_part, reference_text

MAX_REFERENCE = 10_000


class MathConfig(VerifierConfig):
    """Parameters of `math`."""

    reference: Column = "answer"
    r"""Column of the data row that holds the right answer: a number, an expression, or LaTeX such as
    `\frac{1}{2}`, with or without `$` or `\boxed{}`."""
    answer_after: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Read only what follows the last occurrence of this marker, such as `</think>`; without it all text."""
    read_last_characters: Annotated[int, Field(ge=16, le=100_000)] = 4_000
    """The answer is looked for in this many characters at the end: a bound for very long completions."""
    timeout_seconds: Annotated[float, Field(ge=0.1, le=10)] = 2.0
    """CPU time for one completion; one that needs more is not verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Math:
    """Judges a completion right if its last answer is mathematically equal to the reference."""

    config: MathConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        reference = reference_text(row, self.config.reference)
        if reference is None or len(reference) > MAX_REFERENCE:
            return UNVERIFIED
        answer = answer_part(completion, self.config.answer_after)
        if answer is None:
            return WRONG
        text = answer[-self.config.read_last_characters :]
        return SANDBOX.judge("math", cpu_seconds=self.config.timeout_seconds, reference=reference, text=text)


def build(config: MathConfig) -> Math:
    """Returns the verifier."""
    return Math(config=config)


ENTRY = VerifierEntry(
    name="math",
    summary="The answer in the completion is mathematically equal to the reference (numbers, LaTeX, sets).",
    config=MathConfig,
    build=build,
)
