"""Problems of reasoning-gym (https://github.com/open-thought/reasoning-gym), judged by their dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from espo_contracts.spec import Column
from espo_core.verifiers.base import UNVERIFIED, WRONG, Row, Verdict, VerifierConfig, VerifierEntry
from espo_core.verifiers.sandbox import SANDBOX
from espo_core.verifiers.text import Extract, extracted

# No dataset asks for so much, and a scorer that evaluates it would only use up its time: there is no verdict.
MAX_ANSWER = 20_000
SOURCE_FIELDS = frozenset({"dataset", "config", "seed", "size", "index"})


class ReasoningGymConfig(VerifierConfig):
    """Parameters of `reasoning_gym`."""

    reference: Column = "source"
    """Column of the data row that says which problem it is, as the task `reasoning_gym` writes it."""
    extract: Extract = "all"
    """What of the completion is the answer: `all`, its `last_line`, or the last `<answer>…</answer>`
    (`answer_tags`). A completion without one is wrong."""
    timeout_seconds: Annotated[float, Field(ge=0.1, le=30)] = 5.0
    """CPU time for one completion; one that needs more is not verified."""


def source_text(dataset: Mapping[str, Any]) -> str:
    """Returns the JSON that names a dataset in the sandbox: the same for equal ones, as it remembers them."""
    return json.dumps(
        {name: dataset[name] for name in SOURCE_FIELDS - {"index"}}, sort_keys=True, default=str
    )


def is_source(value: Any) -> bool:
    """Returns whether a column names a problem."""
    return isinstance(value, Mapping) and set(value) == SOURCE_FIELDS and isinstance(value.get("index"), int)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGym:
    """Scores an answer as the problem's own dataset does: 1 is right, and some give part of it.

    Where the dataset's code raises on an answer, as some do on one in another form, there is no verdict.
    """

    config: ReasoningGymConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        source: Any = row.get(self.config.reference)
        if not is_source(source):
            return UNVERIFIED
        answer = extracted(completion, self.config.extract)
        if answer is None:
            return WRONG
        if len(answer) > MAX_ANSWER:
            return UNVERIFIED
        return SANDBOX.judge(
            "gym_score",
            cpu_seconds=self.config.timeout_seconds,
            source=source_text(source),
            index=source["index"],
            text=answer,
        )


def build(config: ReasoningGymConfig) -> ReasoningGym:
    """Returns the verifier."""
    return ReasoningGym(config=config)


ENTRY = VerifierEntry(
    name="reasoning_gym",
    summary="The score of the reasoning-gym dataset that made the problem.",
    config=ReasoningGymConfig,
    build=build,
)
