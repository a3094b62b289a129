"""Countdown problems: reach a target by combining all given numbers, one step at a time.

A row: {"prompt": "2 6 8 4>08:", "answer": "6*2=12,12-8=4,4+4=8", "numbers": [2, 6, 8, 4], "target": 8}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field

from espo_core.tasks.base import TaskConfig, TaskData, TaskEntry

Numbers = tuple[int, ...]
MAX_TARGET = 99


class CountdownTaskConfig(TaskConfig):
    """Parameters of `countdown`."""

    numbers: Literal[3, 4] = 4
    """How many numbers a problem has; three are easier."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Chooses the problems. Which sets of numbers are held out does not depend on it, so that a model warmed
    up on this task has never seen them either."""
    largest_number: Annotated[int, Field(ge=4, le=20)] = 9
    """Numbers are drawn from 1 to this."""
    operators: Literal["+-", "+-*"] = "+-*"
    """Operators in the solutions that make the problems."""
    train_rows: Annotated[int, Field(ge=16, le=50_000)] = 8_192
    """At most this many training problems; three small numbers have fewer."""
    held_out_rows: Annotated[int, Field(ge=16, le=10_000)] = 512
    """At most this many held-out problems."""
    held_out_share: Annotated[float, Field(ge=0.05, le=0.5)] = 0.225
    """Share of the sets of numbers that never occur in training. With 0.225 three numbers have 1,950 held-out
    problems; with 0.3 over 2,500. A smaller share's sets are among those of a larger one; a base model has
    seen the sets that were not held out when it was made."""


def number_sets(config: CountdownTaskConfig, *, is_held_out: bool) -> list[Numbers]:
    """Returns the sets (with repetition) of one side of the split, which a hash of the numbers decides."""
    sets = combinations_with_replacement(range(1, config.largest_number + 1), config.numbers)
    ranked = sorted(sets, key=lambda numbers: hashlib.sha256(repr(numbers).encode()).digest())
    border = round(config.held_out_share * len(ranked))
    return sorted(ranked[:border] if is_held_out else ranked[border:])


def random_step(random: Random, left: int, right: int, operators: str) -> tuple[str, int]:
    """Returns the text and result of a random step; a difference is taken so that it is not negative."""
    operator = random.choice(operators)
    if operator == "-":
        left, right = max(left, right), min(left, right)
        return f"{left}-{right}={left - right}", left - right
    value = left + right if operator == "+" else left * right
    return f"{left}{operator}{right}={value}", value


def random_solution(random: Random, numbers: Sequence[int], operators: str) -> tuple[str, int]:
    """Returns the steps that combine all numbers in a random way, and the number that they reach."""
    left = list(numbers)
    steps = []
    while len(left) > 1:
        random.shuffle(left)
        step, value = random_step(random, left.pop(), left.pop(), operators)
        steps.append(step)
        left.append(value)
    return ",".join(steps), left[0]


def random_row(random: Random, sets: Sequence[Numbers], operators: str) -> dict[str, Any]:
    """Returns a problem from one of the sets whose target has one or two digits and is not 0."""
    while True:
        numbers = list(random.choice(sets))
        random.shuffle(numbers)
        answer, target = random_solution(random, numbers, operators)
        if 1 <= target <= MAX_TARGET:
            prompt = f"{' '.join(map(str, numbers))}>{target:02d}:"
            return {"prompt": prompt, "answer": answer, "numbers": numbers, "target": target}


def distinct_rows(
    random: Random, sets: Sequence[Numbers], *, operators: str, count: int, tries: int
) -> Iterator[dict[str, Any]]:
    """Yields problems with distinct prompts, as many as asked or as that many tries can find."""
    seen: set[str] = set()
    for _ in range(tries):
        row = random_row(random, sets, operators)
        if row["prompt"] not in seen:
            seen.add(row["prompt"])
            yield row
        if len(seen) == count:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class CountdownTask:
    """Makes countdown problems."""

    config: CountdownTaskConfig

    def rows(self) -> TaskData:
        """Returns the problems; a set of numbers occurs on one side only."""
        config = self.config
        return TaskData(
            # One try a row: to go on until three numbers have given their last problem would fill the
            # training with rare targets, which held-out problems hardly have.
            train=self._side(is_held_out=False, count=config.train_rows, tries=config.train_rows),
            held_out=self._side(
                is_held_out=True, count=config.held_out_rows, tries=16 * config.held_out_rows
            ),
        )

    def _side(self, *, is_held_out: bool, count: int, tries: int) -> list[dict[str, Any]]:
        random = Random(f"countdown/{self.config.seed}/{is_held_out}")
        sets = number_sets(self.config, is_held_out=is_held_out)
        rows = distinct_rows(random, sets, operators=self.config.operators, count=count, tries=tries)
        return list(rows)


def build(config: CountdownTaskConfig) -> CountdownTask:
    """Returns the task."""
    return CountdownTask(config=config)


ENTRY = TaskEntry(
    name="countdown",
    summary="Reach a target by combining all given numbers step by step; verify with `countdown`.",
    prompt_characters=12,
    config=CountdownTaskConfig,
    build=build,
)
