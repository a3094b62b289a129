"""Countdown: reach the target with each given number once, one step at a time.

For the numbers 2 6 8 4 and the target 8 a right answer is `6*2=12,12-8=4,4+4=8`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from espo_contracts.spec import Column
from espo_core.verifiers.base import (
    UNVERIFIED,
    WRONG,
    Row,
    Verdict,
    VerifierConfig,
    VerifierEntry,
    verdict_of,
)

# Nine digits are more than any task needs, and bound the arithmetic.
STEP = re.compile(r"(-?[0-9]{1,9})([-+*/])(-?[0-9]{1,9})=(-?[0-9]{1,9})")
MAX_NUMBERS = 16


class CountdownConfig(VerifierConfig):
    """Parameters of `countdown`."""

    numbers: Column = "numbers"
    """Column of the data row with the list of numbers to combine."""
    target: Column = "target"
    """Column of the data row with the number to reach."""


def step_result(left: int, operator: str, right: int) -> int | None:
    """Returns the value of one step, or None for a division that has no whole result."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left // right if right and left % right == 0 else None


def take_step(step: str, available: Counter[int]) -> int | None:
    """Returns a step's result, put in `available` in place of its two numbers; None if it is wrong."""
    match = STEP.fullmatch(step)
    if match is None:
        return None
    left, right, claimed = int(match[1]), int(match[3]), int(match[4])
    available.subtract((left, right))
    if available[left] < 0 or available[right] < 0 or step_result(left, match[2], right) != claimed:
        return None
    available[claimed] += 1
    return claimed


def reaches(completion: str, numbers: list[int], target: int) -> bool:
    """Returns whether the steps are all right, use every number once and end at the target."""
    steps = completion.strip().split(",", len(numbers))
    if len(steps) != len(numbers) - 1:
        return False
    available = Counter(numbers)
    results = [take_step(step, available) for step in steps]
    return None not in results and results[-1] == target


def _are_numbers(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and 2 <= len(value) <= MAX_NUMBERS
    return is_list and all(isinstance(number, int) and not isinstance(number, bool) for number in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """Judges a completion right if every step is."""

    config: CountdownConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        numbers, target = row.get(self.config.numbers), row.get(self.config.target)
        if not _are_numbers(numbers) or not isinstance(target, int):
            return UNVERIFIED
        if len(completion) > 64 * MAX_NUMBERS:
            return WRONG
        return verdict_of(reaches(completion, list(numbers or ()), target))


def build(config: CountdownConfig) -> Countdown:
    """Returns the verifier."""
    return Countdown(config=config)


ENTRY = VerifierEntry(
    name="countdown",
    summary="Every step is right, each number is used once, the last result is the target.",
    config=CountdownConfig,
    build=build,
)
