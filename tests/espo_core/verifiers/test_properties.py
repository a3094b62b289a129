"""What holds for every verifier: no text and no row makes it raise, and it says the same of the same text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espo_core.tasks import build_task
from espo_core.verifiers import VERIFIERS, build_verifier
from espo_core.verifiers.reasoning_gym import MAX_ANSWER
from espo_core.verifiers.sandbox import MAX_TEXT, SANDBOX

SCHEMA = {"type": "object", "patternProperties": {"^(a|aa)+$": {"type": "integer"}}, "minProperties": 1}
FUZZY = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}
MULTI = {
    "type": "multi",
    "name": "both",
    "graders": {"near": FUZZY, "words": FUZZY | {"evaluation_metric": "bleu"}},
    "calculate_output": "near ^ words / words",
}
# Each verifier at its default, where it has one, and with the parameters that lead elsewhere in its code.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sorted(set(VERIFIERS) - {"grader", "json_schema", "reasoning_gym", "regex"})),
    ("choice", {"pattern": r"(\w)\s*$", "extract": "last_line"}),
    ("exact", {"answer_after": "=", "ignore_case": True}),
    *(("grader", {"grader": grader}) for grader in (FUZZY, MULTI)),
    ("json_schema", {"schema_document": SCHEMA}),
    ("json_schema", {"schema_document": SCHEMA, "read": "whole"}),
    ("json_schema", {"schema_column": "schema"}),
    ("numeric", {"take": "only", "answer_after": "####"}),
    ("regex", {"pattern": r"^[\s\S]*=(\d+)$"}),
    ("regex", {"pattern": r"(\d+)+$", "match": "full", "timeout_seconds": 0.05}),
]
# Scorers that evaluate the answer as Python, parse it with sympy, or raise on what they do not expect.
GYM = [
    "n_queens",
    "string_insertion",
    "countdown",
    "polynomial_multiplication",
    "prime_factorization",
    "maze",
]
ROW = {"prompt": "1 2>03:", "answer": "B", "numbers": [1, 2], "target": 3, "schema": SCHEMA}
# Text that looks like an answer is more likely to reach deep code than letters alone.
PIECES = [
    r"1+2=3",
    r",",
    r"$3$",
    r"\boxed{",
    r"3",
    r"}",
    r"<answer>",
    r"</answer>",
    r"```",
    r"{",
    r"[",
    r'{"a":1}',
    r"B",
    r"__import__('os')",
]
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Nd", "Zs"]), max_size=40),
    st.text(alphabet="0123456789+-*/=.,eE$\\{}^()[]'\" ", max_size=40),
    st.lists(st.sampled_from([*PIECES, "\n", "\x00", "\ud800"]), max_size=12).map("".join),
)
LONG = ["a", "9", "(", "[", "{", "B ", "1,", "```", "<answer>", '{"a":', "\x00", "\ud800", "$1$ ", "^9"]


@pytest.fixture(scope="module")
def problems() -> Iterator[dict[str, dict[str, Any]]]:
    """One row of each of some reasoning-gym datasets."""
    few = {"train_rows": 16, "held_out_rows": 16}
    yield {name: build_task("reasoning_gym", {"dataset": name, **few}).rows().train[0] for name in GYM}
    SANDBOX.close()


def judged_twice(name: str, parameters: dict[str, Any], completion: str, row: dict[str, Any]) -> None:
    judge = build_verifier(name, parameters)
    first = judge(completion, row)
    assert 0 <= first.score <= 1
    assert first.verified or first.score == 0
    assert judge(completion, row) == first


@settings(deadline=None, max_examples=50)
@pytest.mark.parametrize(("name", "parameters"), CASES)
@given(completion=TEXTS)
def test_any_text(name: str, parameters: dict[str, Any], completion: str) -> None:
    judged_twice(name, parameters, completion, ROW)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("dataset", GYM)
@given(completion=TEXTS, extract=st.sampled_from(["all", "last_line", "answer_tags"]))
def test_any_text_as_an_answer_to_a_generated_problem(
    problems: dict[str, dict[str, Any]], dataset: str, completion: str, extract: str
) -> None:
    judged_twice("reasoning_gym", {"extract": extract}, completion, problems[dataset])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_a_megabyte_of_anything(name: str, parameters: dict[str, Any]) -> None:
    for piece in LONG:
        began = time.process_time()
        judged_twice(name, parameters, (piece * MAX_TEXT)[:MAX_TEXT], ROW)
        assert time.process_time() - began < 5  # of this process; the sandbox bounds its own


@pytest.mark.slow
@pytest.mark.parametrize("dataset", GYM)
def test_the_longest_answer_to_a_generated_problem(problems: dict[str, dict[str, Any]], dataset: str) -> None:
    for piece in LONG:
        judged_twice("reasoning_gym", {}, (piece * MAX_ANSWER)[:MAX_ANSWER], problems[dataset])
        judged_twice("reasoning_gym", {}, (piece * MAX_TEXT)[:MAX_TEXT], problems[dataset])


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SOURCES = st.fixed_dictionaries(
    {
        "dataset": st.sampled_from(["chain_sum", "composite", "no_such", ""]) | VALUES,
        "config": st.just({}) | VALUES,
        "seed": st.integers(-1, 2**70) | VALUES,
        "size": st.integers(-1, 2**70) | VALUES,
        "index": st.integers(-(2**70), 2**70) | VALUES,
    }
)


@settings(deadline=None, max_examples=50)
@pytest.mark.parametrize(("name", "parameters"), [*CASES, ("reasoning_gym", {})])
@given(
    row=st.dictionaries(st.sampled_from(["answer", "numbers", "target", "schema"]), VALUES),
    source=SOURCES | VALUES,
)
def test_any_row(name: str, parameters: dict[str, Any], row: dict[str, Any], source: Any) -> None:
    verdict = build_verifier(name, parameters)("1+2=3", {**row, "source": source})
    assert verdict.verified or verdict.score == 0
