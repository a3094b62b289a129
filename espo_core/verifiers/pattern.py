"""A regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator

from espo_core.verifiers.base import UNVERIFIED, Row, Verdict, VerifierConfig, VerifierEntry
from espo_core.verifiers.sandbox import MAX_TEXT, SANDBOX


class RegexConfig(VerifierConfig):
    """Parameters of `regex`."""

    pattern: Annotated[str, Field(min_length=1, max_length=512)]
    """Regular expression in Python's syntax."""
    match: Literal["search", "full"] = "search"
    """Find the pattern somewhere, or ask that it cover the whole completion."""
    ignore_case: bool = False
    """Match without regard to upper and lower case."""
    dot_matches_newline: bool = False
    """Let `.` match line ends too."""
    timeout_seconds: Annotated[float, Field(ge=0.05, le=5)] = 1.0
    """CPU time for one completion; one that needs more is not verified."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """Judges a completion right if the pattern matches; needs no reference."""

    config: RegexConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        if len(completion) > MAX_TEXT:
            return UNVERIFIED
        return SANDBOX.judge(
            "pattern",
            cpu_seconds=self.config.timeout_seconds,
            pattern=self.config.pattern,
            flags=self._flags(),
            full=self.config.match == "full",
            text=completion,
        )

    def _flags(self) -> int:
        flags = re.IGNORECASE if self.config.ignore_case else re.NOFLAG
        return int(flags | re.DOTALL if self.config.dot_matches_newline else flags)


def build(config: RegexConfig) -> Regex:
    """Returns the verifier."""
    return Regex(config=config)


ENTRY = VerifierEntry(
    name="regex", summary="A regular expression matches the completion.", config=RegexConfig, build=build
)
