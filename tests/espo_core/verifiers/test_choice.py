"""Which letter of a multiple choice a completion gives."""

from __future__ import annotations

from typing import Any

import pytest

from espo_core.errors import ConfigError
from espo_core.verifiers import build_verifier


def score(completion: str, answer: Any = "B", **parameters: Any) -> float | None:
    """The score, or None where the verifier came to no verdict."""
    verdict = build_verifier("choice", parameters)(completion, {"answer": answer})
    return verdict.score if verdict.verified else None


@pytest.mark.parametrize(
    "completion",
    [
        "B",
        "(B)",
        "B.",
        "**B**",
        "The answer is B",
        "The answer is (B).",
        "the ANSWER: **B**",
        "Answer = B",
        r"so \boxed{B}",
        r"so $\boxed{B}$.",
        "I choose option B, as C is a trap",
        "A is wrong, C is wrong, B",
        "First A. No: (C)? Rather (B). A detail remains",
        "The answer is B. A nice question!",
        "The answer is A. Wait, the answer is B.",
    ],
)
def test_the_letter_is_found(completion: str) -> None:
    assert score(completion) == 1


@pytest.mark.parametrize(
    "completion",
    ["", "C", "(C)", "Because", "b", "B2", "the answer is Because", "no letter here", "\x00", "AB", "B'"],
)
def test_another_letter_or_none_is_wrong(completion: str) -> None:
    assert score(completion) == 0


def test_the_place_of_the_letter_can_be_told() -> None:
    assert score("B or C") == 0
    assert score("B or C", take="first") == 1
    assert score("B", take="only") == 1
    assert score(" (B). ", take="only") == 1
    assert score("It is B", take="only") == 0
    assert score("<answer>B</answer> not C", extract="answer_tags") == 1
    assert score("B", extract="answer_tags") == 0
    assert score("C\nB\n", extract="last_line") == 1
    assert score("B\nC", extract="last_line") == 0
    assert score("#### C #### B", answer_after="####") == 1
    assert score("B", answer_after="####") == 0


def test_letters_and_their_case_can_be_told() -> None:
    assert score("F", "F", letters="ABCDEF") == 1
    assert score("F", "F") is None  # no such letter among the four
    assert score("b", ignore_case=True) == 1
    assert score("b", "b", ignore_case=True) == 1


def test_a_pattern_finds_the_letter() -> None:
    assert score("Final: B. Not C", pattern=r"Final: ([A-D])") == 1
    assert score("Final: C. Final: B", pattern=r"Final: ([A-D])") == 1
    assert score("Final: C. Final: B", pattern=r"Final: ([A-D])", take="first") == 0
    assert score("Final: B", pattern=r"Final: ([A-D])", take="only") == 1
    assert score("final: b", pattern=r"Final: ([A-D])", ignore_case=True) == 1
    assert score("B", pattern=r"Final: ([A-D])") == 0
    assert score("Final: both", pattern=r"Final: (\w+)") == 0
    assert score("Final: ", pattern=r"Final: (B)?") == 0


def test_a_pattern_that_backtracks_for_ever_is_not_verified() -> None:
    assert score("a" * 60 + "!", pattern="((a|aa)+)$".replace("(a", "(?:a"), timeout_seconds=0.1) is None


@pytest.mark.parametrize("pattern", ["(", "[A-D]", "([A-D])([A-D])"])
def test_a_pattern_without_one_group_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        build_verifier("choice", {"pattern": pattern})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("B", 1), ("(B)", 1), ("B.", 1), (1, 1), (0, 0), (4, None), (-1, None), (True, None), ("", None)],
)
def test_the_reference_is_a_letter_or_its_place(answer: Any, expected: float | None) -> None:
    assert score("B", answer) == expected


@pytest.mark.parametrize("answer", ["Berlin", "E", None, ["B"], 1.0])
def test_a_reference_that_is_no_letter_is_not_verified(answer: Any) -> None:
    assert score("B", answer) is None
