"""Graders as verifiers."""

from __future__ import annotations

from typing import Any

import pytest

from espo_contracts.spec import RewardPart
from espo_core.errors import ConfigError
from espo_core.verifiers import Verdict, build_verifier, reference_columns

GRADER: dict[str, Any] = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def test_it_says_what_the_grader_says() -> None:
    verifier = build_verifier("grader", {"grader": GRADER})
    assert verifier("7", {"answer": 7}) == Verdict(score=1.0, verified=True)
    assert verifier("8", {"answer": 7}) == Verdict(score=0.0, verified=True)
    assert verifier("7", {}) == Verdict(score=0.0, verified=False)


def test_its_columns_are_known_beforehand() -> None:
    parts = [RewardPart(verifier="grader", parameters={"grader": GRADER}), RewardPart(verifier="numeric")]
    assert reference_columns(parts) == {"answer"}
    other = GRADER | {"reference": "{{item.right.one}}"}
    assert reference_columns([RewardPart(verifier="grader", parameters={"grader": other})]) == {"right"}


def test_a_wrong_grader_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="operation"):
        build_verifier("grader", {"grader": GRADER | {"operation": "is"}})
