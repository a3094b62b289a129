"""What stands in for `eval` and sympy's parser reads answers and runs nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from espo_core.sandboxed.harmless import checked, evaluated
from espo_core.tasks import build_task
from espo_core.verifiers import build_verifier
from espo_core.verifiers.sandbox import SANDBOX

EXPRESSION = checked(sympy.parse_expr)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2.5, -3]", [1, 2.5, -3]),
        ("['a', ('b', {1: 2})]", ["a", ("b", {1: 2})]),
        ("(0x1f & 7) << 2", 28),
        (" 7 // 2 ", 3),
        ("{1, 2}", {1, 2}),
    ],
)
def test_literals_and_arithmetic_are_read(text: str, value: object) -> None:
    assert evaluated(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "__import__('os')",
        "().__class__",
        "[x for x in (1,)]",
        "lambda: 1",
        "a",
        "f'{1}'",
        "(y := 1)",
        "print",
        "1 if 1 else 2",
    ],
)
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not evaluated"):
        evaluated(text)


@pytest.mark.parametrize("text", ["3*x**2 + 2*x", "sqrt(4) + sin(x)", "(1 + 2)/3", "exp(2*x)"])
def test_expressions_are_as_sympy_reads_them(text: str) -> None:
    assert EXPRESSION(text) == sympy.parse_expr(text)


@pytest.mark.parametrize(
    "text",
    [
        "exec(chr(97))",
        "__import__('os')",
        "x.args",
        "x .args",
        "(1).real",
        "open(1)",
        "[1]",
        "x; y",
        "lambda x: x",
        "'a'",
        "eval(x)",
        "ｅxec(1)",
    ],
)
def test_an_expression_that_could_be_a_program_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an expression"):
        EXPRESSION(text)


def test_names_that_the_scorer_gives_are_known() -> None:
    speed = sympy.Symbol("speed")
    assert EXPRESSION("2*speed", {"speed": speed}) == 2 * speed


@given(st.text())
def test_any_text_is_read_or_raises(text: str) -> None:
    unreadable = (ValueError, SyntaxError, ArithmeticError, TypeError, MemoryError, RecursionError)
    with suppress(*unreadable):
        evaluated(text)


@pytest.mark.parametrize("dataset", ["string_insertion", "spiral_matrix", "binary_matrix", "n_queens"])
def test_scorers_that_evaluate_still_know_a_right_answer_and_run_none(dataset: str, tmp_path: Path) -> None:
    row = _row(dataset)
    judge = build_verifier("reasoning_gym", {})
    assert judge(row["answer"], row).score == 1
    trace = tmp_path / "trace"
    assert judge(f"[open({str(trace)!r}).read()]", row).score < 1
    assert judge("[exit()]", row).score < 1, "the process would have ended"
    assert judge(row["answer"], row).score == 1


@pytest.mark.parametrize(
    "dataset", ["simple_integration", "polynomial_multiplication", "countdown", "puzzle24"]
)
def test_scorers_that_parse_still_know_a_right_answer(dataset: str) -> None:
    row = _row(dataset)
    judge = build_verifier("reasoning_gym", {})
    assert judge(row["answer"], row).score == 1
    assert judge("exec(chr(97))", row).score < 1


def _row(dataset: str) -> dict[str, Any]:
    parameters = {"dataset": dataset, "train_rows": 16, "held_out_rows": 16}
    return dict(build_task("reasoning_gym", parameters).rows().train[0])


@pytest.fixture(autouse=True, scope="module")
def _close_the_sandbox() -> Any:
    yield
    SANDBOX.close()
