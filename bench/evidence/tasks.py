"""The tasks of the campaign: what a job says of them, and the rows that warm a base model up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.evidence import sorting
from espo_core.tasks.countdown import CountdownTaskConfig, number_sets, random_row

WarmRows = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetting:
    """A task as a job names it."""

    name: str
    """Of the catalogue."""
    parameters: dict[str, Any]
    verifier: str
    max_new_tokens: int
    warm_rows: Callable[[Random], WarmRows]
    """Prompts and answers without end that the task never holds out."""
    make_tokenizer: Callable[[], Any] | None = None
    """Of the base models warmed up on it; None is that of `examples/tiny-base`."""


def _countdown_rows(config: CountdownTaskConfig) -> Callable[[Random], WarmRows]:
    def rows(random: Random) -> WarmRows:
        sets = number_sets(config, is_held_out=False)
        while True:
            row = random_row(random, sets, config.operators)
            yield row["prompt"], row["answer"]

    return rows


def _countdown(numbers: int, *, max_new_tokens: int, share: float) -> TaskSetting:
    parameters = {"numbers": numbers, "held_out_rows": 2048, "held_out_share": share}
    return TaskSetting(
        name="countdown",
        parameters=parameters,
        verifier="countdown",
        max_new_tokens=max_new_tokens,
        warm_rows=_countdown_rows(CountdownTaskConfig.model_validate(parameters)),
    )


TASKS: dict[str, TaskSetting] = {
    # The quickstart's own split, for tuning.
    "countdown3": _countdown(3, max_new_tokens=24, share=0.225),
    "countdown4": _countdown(4, max_new_tokens=40, share=0.225),
    # A little more is held out: over 2,000 problems of three numbers.
    "three numbers": _countdown(3, max_new_tokens=24, share=0.24),
    "four numbers": _countdown(4, max_new_tokens=40, share=0.24),
    "sorting": TaskSetting(
        name="reasoning_gym",
        parameters=sorting.PARAMETERS,
        verifier="reasoning_gym",
        max_new_tokens=44,
        warm_rows=sorting.warm_rows,
        make_tokenizer=sorting.make_tokenizer,
    ),
}
