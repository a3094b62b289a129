"""What a verifier is: text and the data row it answers, in; a verdict, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from espo_contracts.part import Part

Row = Mapping[str, Any]


class VerifierConfig(Part):
    """Parameters of a verifier: frozen, and an unknown one is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one verifier says of one completion.

    `verified` is Eq. 11 of arXiv:2512.00499v2: the verifier ran to a verdict. False is not "wrong": it says
    that nothing is known (a reference that cannot be read, a time-out), and takes the response out of the
    advantage's statistics.
    """

    score: float
    """In [0, 1]; 0 where not verified."""
    verified: bool
    is_cut_off: bool = field(default=False, compare=False)
    """Not verified because the verifier had used up its time or memory."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], not {self.score}")


RIGHT = Verdict(score=1.0, verified=True)
WRONG = Verdict(score=0.0, verified=True)
UNVERIFIED = Verdict(score=0.0, verified=False)
CUT_OFF = Verdict(score=0.0, verified=False, is_cut_off=True)


def verdict_of(is_right: bool) -> Verdict:
    """Returns RIGHT or WRONG."""
    return RIGHT if is_right else WRONG


class Verifier(Protocol):
    """Judges a completion; never raises on any text, and says the same of the same text."""

    def __call__(self, completion: str, row: Row) -> Verdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierEntry:
    """A verifier of the catalogue."""

    name: str
    summary: str
    config: type[VerifierConfig]
    build: Callable[[Any], Verifier]
    """From an instance of `config`."""
