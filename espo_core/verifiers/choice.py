"""The letter of a multiple-choice answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, field_validator

from espo_contracts.spec import Column
from espo_core.verifiers.base import (
    CUT_OFF,
    UNVERIFIED,
    WRONG,
    Row,
    Verdict,
    VerifierConfig,
    VerifierEntry,
    verdict_of,
)
from espo_core.verifiers.sandbox import MAX_TEXT, SANDBOX, CutOffError
from espo_core.verifiers.text import Extract, answer_part, extracted, reference_text

# What people put around a letter: (B), [B], **B**, `B`, "B", \boxed{B}, $B$, B. and B: among them.
OPENING, CLOSING = r"[(\[{*_`'\"$\s]{0,6}", r"[)\]}*_`'\"$\s.:,;]{0,6}"
STATED = (
    r"(?i:\banswer|\bchoice|\boption|\\boxed)\s{0,4}(?i:is|:|=)?\s{0,4}:?"
    + OPENING
    + r"([LETTERS])(?![A-Za-z0-9'])"
)
ENCLOSED = r"(?:\(|\[|\*\*|\{)([LETTERS])(?:\)|\]|\*\*|\})"
ALONE = r"(?<![A-Za-z0-9'])([LETTERS])(?![A-Za-z0-9'])"
ONLY = OPENING + r"(?:\\boxed\{)?([LETTERS])" + CLOSING


class ChoiceConfig(VerifierConfig):
    """Parameters of `choice`."""

    reference: Column = "answer"
    """Column of the data row with the right letter, such as `B` or `(B)`, or its place as a number from 0."""
    letters: Annotated[str, Field(pattern=r"^[A-Z]{2,26}$")] = "ABCD"
    """The letters to choose from, in their order."""
    extract: Extract = "all"
    """What of the completion is read: `all`, its `last_line`, or the last `<answer>…</answer>`
    (`answer_tags`)."""
    answer_after: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Read only what follows the last occurrence of this marker, such as `####`."""
    pattern: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    r"""Regular expression whose one group is the letter, such as `Final: ([A-D])`. Without it the letter is
    one that is stated (`the answer is B`, `Answer: B`, `\boxed{B}`), else one in brackets or bold type, else
    one that stands alone."""
    take: Literal["last", "first", "only"] = "last"
    """Which of several such letters is the answer; `only` asks that the text be a letter and nothing else."""
    ignore_case: bool = False
    """Read small letters too; with it the word `a` is a letter that stands alone."""
    timeout_seconds: Annotated[float, Field(ge=0.05, le=5)] = 1.0
    """CPU time of the pattern for one completion; one that needs more is not verified."""

    @field_validator("pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"needs exactly one group, which is the letter; it has {groups}")
        return pattern


@lru_cache(maxsize=256)
def _compiled(pattern: str, letters: str, *, ignore_case: bool) -> re.Pattern[str]:
    choices = letters + letters.lower() if ignore_case else letters
    return re.compile(pattern.replace("LETTERS", choices))


def letters_in(text: str, letters: str, *, ignore_case: bool) -> list[str]:
    """Returns the letters of the clearest form that the text has: stated, enclosed or alone."""
    for pattern in (STATED, ENCLOSED, ALONE):
        found = _compiled(pattern, letters, ignore_case=ignore_case).findall(text)
        if found:
            return found
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Judges a completion right if its letter is the reference; one without a letter is wrong."""

    config: ChoiceConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        reference = self._reference(row)
        if reference is None or len(completion) > MAX_TEXT:
            return UNVERIFIED
        part = answer_part(completion, self.config.answer_after)
        text = None if part is None else extracted(part, self.config.extract)
        if text is None:
            return WRONG
        try:
            letter = self._letter(text)
        except CutOffError:
            return CUT_OFF
        return UNVERIFIED if letter is None else verdict_of(letter == reference)

    def _reference(self, row: Row) -> str | None:
        """The right letter, or None where the row has none."""
        value = row.get(self.config.reference)
        if isinstance(value, int) and not isinstance(value, bool):
            return self.config.letters[value] if 0 <= value < len(self.config.letters) else None
        return self._only(reference_text(row, self.config.reference) or "") or None

    def _letter(self, text: str) -> str | None:
        """The letter of a text, "" where it has none, or None where the pattern fails on it."""
        if self.config.pattern is not None:
            return self._by_pattern(text)
        if self.config.take == "only":
            return self._only(text)
        found = letters_in(text, self.config.letters, ignore_case=self.config.ignore_case)
        return found[0 if self.config.take == "first" else -1].upper() if found else ""

    def _only(self, text: str) -> str:
        pattern = _compiled(ONLY, self.config.letters, ignore_case=self.config.ignore_case)
        match = pattern.fullmatch(text.strip())
        return match[1].upper() if match else ""

    def _by_pattern(self, text: str) -> str | None:
        found = SANDBOX.answer(
            "group",
            cpu_seconds=self.config.timeout_seconds,
            pattern=self.config.pattern,
            flags=int(re.IGNORECASE if self.config.ignore_case else re.NOFLAG),
            take=self.config.take,
            text=text,
        )
        if not isinstance(found, str):
            return None
        letter = found.upper() if self.config.ignore_case else found
        return letter if letter in tuple(self.config.letters) else ""


def build(config: ChoiceConfig) -> Choice:
    """Returns the verifier."""
    return Choice(config=config)


ENTRY = VerifierEntry(
    name="choice",
    summary="The letter of the completion is that of the right choice.",
    config=ChoiceConfig,
    build=build,
)
