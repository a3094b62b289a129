"""exact, numeric, format and length."""

from __future__ import annotations

from typing import Any

import pytest

from espo_core.errors import ConfigError
from espo_core.verifiers import build_verifier


def score(name: str, completion: str, answer: Any = None, **parameters: Any) -> float | None:
    """The score, or None where the verifier came to no verdict."""
    verdict = build_verifier(name, parameters)(completion, {"answer": answer, "other": "7"})
    return verdict.score if verdict.verified else None


def test_exact_compares_text() -> None:
    assert score("exact", " blue  sky\n", "blue sky") == 1
    assert score("exact", "Blue sky", "blue sky") == 0
    assert score("exact", "Blue sky", "blue sky", ignore_case=True) == 1
    assert score("exact", "blue  sky", "blue sky", ignore_spacing=False) == 0
    assert score("exact", "7", 7) == 1
    assert score("exact", "7", None, reference="other") == 1


def test_exact_reads_what_follows_the_last_marker() -> None:
    assert score("exact", "#### 3 no, #### 4", "4", answer_after="####") == 1
    assert score("exact", "4", "4", answer_after="####") == 0


@pytest.mark.parametrize("answer", [None, ["4"], {"value": 4}, True])
@pytest.mark.parametrize("name", ["exact", "numeric", "math"])
def test_a_reference_that_is_no_scalar_is_not_verified(name: str, answer: Any) -> None:
    assert score(name, "4", answer) is None


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("the sum is 42", "42", 1),
        ("the sum is 42.", 42, 1),
        ("first 42, then 43", 42, 0),
        ("1,234,567", "1234567", 1),
        ("costs $1,050.50 in all", "1050.5", 1),
        ("1,2", 2, 1),
        ("-3", -3, 1),
        ("6.02e23", 6.02e23, 1),
        ("1e999", 1, 0),
        ("no number", 1, 0),
        ("0.1 + 0.2 = 0.30000000000000004", 0.3, 1),
        (".5", 0.5, 1),
    ],
)
def test_numeric_reads_the_last_number(completion: str, answer: Any, expected: float) -> None:
    assert score("numeric", completion, answer) == expected


def test_numeric_reads_another_number_when_told() -> None:
    assert score("numeric", "first 42, then 43", 42, take="first") == 1
    assert score("numeric", "42", 42, take="only") == 1
    assert score("numeric", "it is 42", 42, take="only") == 0
    assert score("numeric", "1 #### 5", 5, answer_after="####") == 1


def test_numeric_tolerances_are_inclusive() -> None:
    assert score("numeric", "10.5", 10, absolute_tolerance=0.5) == 1
    assert score("numeric", "10.51", 10, absolute_tolerance=0.5) == 0
    assert score("numeric", "110", 100, relative_tolerance=0.1) == 1
    assert score("numeric", "111", 100, relative_tolerance=0.1) == 0


def test_numeric_without_a_number_in_the_reference_is_not_verified() -> None:
    assert score("numeric", "4", "four") is None


@pytest.mark.parametrize(
    ("completion", "whole", "expected"),
    [
        ("<think>a</think><answer>b</answer>", True, 1),
        ("so <think>a</think> then <answer>b</answer>.", False, 1),
        ("so <think>a</think> then <answer>b</answer>.", True, 0),
        ("<think>a</think><answer>b", False, 0),
        ("<answer>b</answer><think>a</think>", False, 0),
        ("<think><think>a</think><answer>b</answer>", False, 0),
        ("", False, 0),
    ],
)
def test_format_wants_each_marker_once_in_order(completion: str, whole: bool, expected: float) -> None:
    assert score("format", completion, whole=whole) == expected


def test_format_wants_markers_apart() -> None:
    assert score("format", "aba", markers=["ab", "ba"]) == 0
    assert score("format", "abba", markers=["ab", "ba"]) == 1


@pytest.mark.parametrize(("count", "expected"), [(0, 1), (10, 1), (15, 0.5), (20, 0), (99, 0)])
def test_length_falls_linearly(count: int, expected: float) -> None:
    bounds = {"full_until": 10, "zero_from": 20}
    assert score("length", "x" * count, **bounds) == expected
    assert score("length", "word " * count, unit="words", **bounds) == expected


def test_length_bounds_must_fall() -> None:
    with pytest.raises(ConfigError, match="must be above full_until"):
        build_verifier("length", {"full_until": 10, "zero_from": 10})
