"""The countdown verifier against an evaluator written another way."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espo_core.tasks.countdown import random_solution
from espo_core.verifiers import build_verifier

ROW = {"numbers": [2, 6, 8, 4], "target": 8}
judge = build_verifier("countdown", {})


@pytest.mark.parametrize(
    "completion",
    ["6*2=12,12-8=4,4+4=8", " 6*2=12,12-8=4,4+4=8\n", "2-6=-4,8+-4=4,4+4=8", "8*4=32,32*6=192,192*2=384"],
)
def test_right_steps_are_judged_by_their_last_result(completion: str) -> None:
    expected = 0.0 if completion.endswith("384") else 1.0
    assert judge(completion, ROW).score == expected


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "8",
        "6*2=12,12-8=4",  # a number is left over
        "6*2=12,12-8=4,4+4=9",  # a wrong sum
        "6*2=13,12-8=4,4+4=8",  # a wrong first step
        "6*2=12,12-8=4,8+0=8",  # a number that is not there
        "6*2=12,6+2=8,8*1=8",  # numbers used twice
        "6*2=12,12-8=4,4+4=8,8*1=8",
        "6*2=12;12-8=4;4+4=8",
        "6*2=12,12-8=4,4+4=8 and so on",
        "6*2=12,12-8=4,4/0=8",
        "٦*2=12,12-8=4,4+4=8",  # a digit that int() would accept
        "9" * 5000,
        "6*2=12," * 100_000,
    ],
)
def test_wrong_steps_are_wrong(completion: str) -> None:
    verdict = judge(completion, ROW)
    assert (verdict.score, verdict.verified) == (0.0, True)


def test_division_must_be_whole() -> None:
    row = {"numbers": [8, 2, 3], "target": 12}
    assert judge("8/2=4,4*3=12", row).score == 1.0
    assert judge("8/3=2,2*2=4", {"numbers": [8, 2, 3], "target": 4}).score == 0.0


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"numbers": [1, 2]},
        {"numbers": "1 2", "target": 3},
        {"numbers": [1, None], "target": 3},
        {"numbers": [1], "target": 1},
        {"numbers": list(range(99)), "target": 1},
    ],
)
def test_a_row_that_cannot_be_read_is_not_verified(row: dict[str, object]) -> None:
    assert not judge("1+2=3", row).verified


def brute_force(completion: str, numbers: list[int], target: int) -> bool:
    """Evaluates each step with Python's own arithmetic, keeping a plain list."""
    left = list(numbers)
    value = None
    for step in completion.split(","):
        term, _, value_text = step.partition("=")
        operands = term.replace("*", " ").replace("+", " ").replace("-", " ").split()
        for operand in operands:
            if int(operand) not in left:
                return False
            left.remove(int(operand))
        value = eval(term)
        if len(operands) != 2 or str(value) != value_text:
            return False
        left.append(value)
    return left == [target] and value == target


@given(seed=st.integers(0, 2**32), edits=st.integers(0, 2), count=st.integers(3, 4))
def test_agrees_with_a_brute_force_evaluator(seed: int, edits: int, count: int) -> None:
    random = Random(seed)
    numbers = [random.randint(1, 9) for _ in range(count)]
    completion, target = random_solution(random, numbers, "+-*")
    for _ in range(edits):
        place = random.choice([index for index, symbol in enumerate(completion) if symbol.isdigit()])
        completion = completion[:place] + random.choice("123456789") + completion[place + 1 :]
    row = {"numbers": numbers, "target": target}
    assert judge(completion, row).score == float(brute_force(completion, numbers, target))
