"""What a grader says of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espo_contracts.graders.formula import evaluate, parse_formula
from espo_contracts.graders.schema import MultiGrader, StringCheck, TextSimilarity
from espo_contracts.graders.similarity import METRICS
from espo_contracts.graders.template import fill

MAX_TEXT = 65_536
"""Characters of either text of a similarity: it takes time by their product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A verdict, or why there is none."""

    reward: float | None
    """In [0, 1]; None where the grader came to no verdict."""
    scores: Mapping[str, float]
    """Of each grader by its name."""
    reason: str = ""
    """Why there is no verdict."""


def grade(grader: StringCheck | TextSimilarity | MultiGrader, output: str, item: Mapping[str, Any]) -> Grade:
    """What the grader says of a sample's text and the item it answers; never raises, whatever they are."""
    if isinstance(grader, MultiGrader):
        return _combined(grader, output, item)
    text, reference = fill(grader.input, output, item), fill(grader.reference, output, item)
    if text is None or reference is None:
        return Grade(
            reward=None,
            scores={},
            reason="the item lacks a value that the grader reads, or its text is too long",
        )
    if isinstance(grader, StringCheck):
        score = float(_holds(grader.operation, text, reference))
    elif max(len(text), len(reference)) > MAX_TEXT:
        return Grade(reward=None, scores={}, reason=f"a text is longer than {MAX_TEXT} characters")
    else:
        score = METRICS[grader.evaluation_metric](text, reference)
    return Grade(reward=score, scores={grader.name: score})


def _holds(operation: str, text: str, reference: str) -> bool:
    if operation == "ilike":
        return reference.casefold() in text.casefold()
    if operation == "like":
        return reference in text
    return (text == reference) == (operation == "eq")


def _combined(grader: MultiGrader, output: str, item: Mapping[str, Any]) -> Grade:
    scores: dict[str, float] = {}
    for name, part in grader.graders.items():
        given = grade(part, output, item)
        if given.reward is None:
            return Grade(reward=None, scores=scores, reason=f"{name}: {given.reason}")
        scores[name] = given.reward
    value = evaluate(parse_formula(grader.calculate_output, frozenset(grader.graders)), scores)
    if value is None:
        return Grade(reward=None, scores=scores, reason="the formula gives no finite number")
    return Grade(reward=min(1.0, max(0.0, value)), scores=scores)
