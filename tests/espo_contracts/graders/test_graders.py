"""Graders: templates, comparisons, similarities by hand, formulas."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from espo_contracts.graders import Grader, grade, item_columns
from espo_contracts.graders.formula import evaluate, parse_formula
from espo_contracts.graders.similarity import METRICS, common_length

GRADER: TypeAdapter[Any] = TypeAdapter(Grader)


def string_check(**changes: str) -> dict[str, Any]:
    document = {
        "type": "string_check",
        "name": "check",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    return document | changes


def reward(document: dict[str, Any], output: str, item: dict[str, Any]) -> float | None:
    return grade(GRADER.validate_python(document), output, item).reward


@pytest.mark.parametrize(
    ("operation", "output", "score"),
    [
        ("eq", "Rome", 1),
        ("eq", "Rome ", 0),
        ("ne", "Rome", 0),
        ("ne", "rome", 1),
        ("like", "It is Rome.", 1),
        ("like", "It is rome.", 0),
        ("ilike", "it is ROME.", 1),
        ("ilike", "Paris", 0),
    ],
)
def test_a_string_check_compares(operation: str, output: str, score: float) -> None:
    assert reward(string_check(operation=operation), output, {"answer": "Rome"}) == score


def test_a_template_reads_the_sample_and_the_item() -> None:
    document = string_check(reference="<{{ item.a.b }}|{{item.n}}|{{item.list}}>")
    item = {"a": {"b": "{{item.n}}"}, "n": 7, "list": [1, "é"]}
    assert reward(document, '<{{item.n}}|7|[1, "é"]>', item) == 1
    assert item_columns(GRADER.validate_python(document)) == {"a", "n", "list"}
    assert reward(document, "x", {"a": "no object", "n": 7, "list": []}) is None
    assert reward(string_check(reference="{{item.n}}" * 1000), "x", {"n": "x" * 100_000}) is None


@pytest.mark.parametrize("name", ["sample.output_json", "item", "item.", "item.a-b", "", "x", "item.__a b"])
def test_other_names_in_a_template_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="neither"):
        GRADER.validate_python(string_check(input="{{" + name + "}}"))


@pytest.mark.parametrize(
    ("metric", "text", "reference", "score"),
    [
        # LCS "abd" of abcd and abd: 2·3 / 7.
        ("fuzzy_match", "abcd", "abd", 6 / 7),
        ("fuzzy_match", "", "", 1.0),
        # the·cat·sat against the·cat·ran·off: shared words 2 of 3 and 4; bigrams 1 of 2 and 3.
        ("rouge_1", "The cat sat", "the cat ran off", 4 / 7),
        ("rouge_2", "The cat sat", "the cat ran off", 2 / 5),
        ("rouge_3", "The cat sat", "the cat ran off", 0.0),
        ("rouge_l", "cat the sat", "the cat ran off sat", 2 * 2 / 8),
        # All n-grams: of one 3+2+1 = 6, of the other 4+3+2+1 = 10; shared 2+1.
        ("gleu", "The cat sat", "the cat ran off", 3 / 10),
        # 2/3, (1+1)/(2+1), (0+1)/(1+1), (0+1)/(1+1), and brevity exp(1 - 4/3).
        ("bleu", "The cat sat", "the cat ran off", (2 / 3 * 2 / 3 / 2 / 2) ** 0.25 * math.exp(-1 / 3)),
        ("bleu", "a b c d e", "a b c d e", 1.0),
        ("bleu", "x", "y", 0.0),
    ],
)
def test_a_similarity_is_what_the_paper_says(metric: str, text: str, reference: str, score: float) -> None:
    assert METRICS[metric](text, reference) == pytest.approx(score, abs=1e-12)


def test_the_common_subsequence_is_that_of_the_table() -> None:
    source = random.Random(0)
    for _ in range(200):
        first, second = ("".join(source.choices("abc", k=source.randrange(90))) for _ in range(2))
        assert common_length(first, second) == _by_table(first, second)


def _by_table(first: str, second: str) -> int:
    row = [0] * (len(first) + 1)
    for item in second:
        before = row[:]
        for place, other in enumerate(first):
            row[place + 1] = before[place] + 1 if item == other else max(row[place], before[place + 1])
    return row[-1]


def test_too_long_a_text_is_not_compared() -> None:
    document = string_check() | {"type": "text_similarity", "evaluation_metric": "rouge_l"}
    del document["operation"]
    assert reward(document, "x" * 65_537, {"answer": "y"}) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5 * a + 0.5*b", 0.625),
        ("a - b - b", 0.5),
        ("2 ^ 3 ^ 2 / 512", 1),
        ("-a ^ 2", -1),
        ("min(a, b, 0.1) + max(a, b)", 1.1),
        ("floor(1.5) + ceil(.5) - abs(-b) + sqrt(4) + exp(0) + log(1)", 4.75),
        ("a / 0", None),
        ("10 ^ 10 ^ 10", None),
        ("sqrt(0 - a)", None),
        ("exp(9999)", None),
    ],
)
def test_a_formula_is_arithmetic(text: str, value: float | None) -> None:
    found = evaluate(parse_formula(text, frozenset("ab")), {"a": 1.0, "b": 0.25})
    assert found == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "a b",
        "c",
        "__import__('os')",
        "a.b",
        "min(a)",
        "abs(a, b)",
        "(a",
        "a)",
        "a ** b",
        "1..2",
        ".",
        "(" * 40 + "a" + ")" * 40,
        "-" * 40 + "a",
        "a+" * 600 + "a",
    ],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"formula|function"):
        parse_formula(text, frozenset("ab"))


def test_a_multi_grader_combines_and_is_cut_to_its_range() -> None:
    parts = {"right": string_check(), "long": string_check(operation="like")}
    multi = {"type": "multi", "name": "both", "graders": parts, "calculate_output": "right + long / 2"}
    grader = GRADER.validate_python(multi)
    whole = grade(grader, "7", {"answer": "7"})
    assert (whole.reward, whole.scores) == (1.0, {"right": 1.0, "long": 1.0})
    assert grade(grader, "it is 7", {"answer": "7"}).reward == 0.5
    assert grade(grader, "7", {}).reward is None
    assert item_columns(grader) == {"answer"}
    with pytest.raises(ValidationError, match="no grader"):
        GRADER.validate_python(multi | {"calculate_output": "wrong"})
