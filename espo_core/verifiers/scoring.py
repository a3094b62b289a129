"""The reward of a completion: a weighted sum of verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espo_core.verifiers.base import UNVERIFIED, Row, Verdict, Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedVerifier:
    """A verifier and its weight in the reward."""

    name: str
    weight: float
    verifier: Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What all verifiers together say of one completion."""

    reward: float
    """Σ weight · score over the verifiers that ran to a verdict."""
    verified: bool
    """Every verifier ran to a verdict."""
    parts: dict[str, float]
    """Score of each verifier by its name; a name given twice counts on: `regex`, `regex#2`."""
    unverified: tuple[str, ...] = ()
    """Names, as in `parts`, of the verifiers that came to no verdict."""
    cut_off: tuple[str, ...] = ()
    """Those of them that had used up their time or memory."""
    raised: tuple[str, ...] = ()
    """Verifiers that raised, each as `name: exception`: defects, to be counted and shown."""


def score_all(weighted: Sequence[WeightedVerifier], completion: str, row: Row) -> Score:
    """Returns the weighted sum of the scores; a verifier that raises has not verified."""
    parts: dict[str, float] = {}
    unverified: list[str] = []
    cut_off: list[str] = []
    raised: list[str] = []
    reward = 0.0
    for part in weighted:
        verdict = _verdict(part, completion, row, raised)
        name = _free_name(part.name, parts)
        parts[name] = verdict.score
        reward += part.weight * verdict.score
        if not verdict.verified:
            unverified.append(name)
        if verdict.is_cut_off:
            cut_off.append(name)
    return Score(
        reward=reward,
        verified=not unverified,
        parts=parts,
        unverified=tuple(unverified),
        cut_off=tuple(cut_off),
        raised=tuple(raised),
    )


def _verdict(part: WeightedVerifier, completion: str, row: Row, raised: list[str]) -> Verdict:
    try:
        return part.verifier(completion, row)
    except Exception as error:  # noqa: BLE001  (one bad row or verifier must not end a run; the caller counts it)
        raised.append(f"{part.name}: {type(error).__name__}: {error}"[:500])
        return UNVERIFIED


def _free_name(name: str, taken: dict[str, float]) -> str:
    if name not in taken:
        return name
    count = 2
    while f"{name}#{count}" in taken:
        count += 1
    return f"{name}#{count}"
