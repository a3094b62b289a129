"""Problems of reasoning-gym (https://github.com/open-thought/reasoning-gym), by the name of their dataset.

A row: {"prompt": question, "answer": an answer, "source": {"dataset", "config", "seed", "size", "index"}}.
They are made in the sandbox process: its hundred generators load much, and may run long on an unlucky config.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, JsonValue

from espo_contracts.spec import Parameters, PartName
from espo_core.errors import ConfigError
from espo_core.tasks.base import TaskConfig, TaskData, TaskEntry
from espo_core.verifiers.reasoning_gym import source_text
from espo_core.verifiers.sandbox import SANDBOX

HELD_OUT_SHARE = 0.225
"""Share of the questions that never occur in training, whatever the seed; a hash of the question decides."""
BATCH = 16
BATCH_SECONDS = 20.0
MAX_SECONDS = 600.0
Drawn = tuple[int, str, str]
"""Index, question, answer."""


class ReasoningGymTaskConfig(TaskConfig):
    """Parameters of `reasoning_gym`."""

    dataset: PartName
    """Name of the dataset, such as `chain_sum`, `number_sorting` or `basic_arithmetic`."""
    config: Parameters = Field(default_factory=dict)
    """The dataset's own parameters, such as {max_terms: 3}; a wrong name is answered with the right ones."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Chooses the problems. Which questions are held out does not depend on it."""
    train_rows: Annotated[int, Field(ge=16, le=50_000)] = 4_096
    """At most this many training problems; a dataset with few questions has fewer."""
    held_out_rows: Annotated[int, Field(ge=16, le=10_000)] = 512
    """At most this many held-out problems."""


def is_held_out(question: str) -> bool:
    """Returns the side of a question."""
    rank = int.from_bytes(hashlib.sha256(question.encode(errors="surrogatepass")).digest()[:8])
    return rank < HELD_OUT_SHARE * 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningGymTask:
    """Makes the problems of one dataset."""

    config: ReasoningGymTaskConfig

    def rows(self) -> TaskData:
        """Returns the problems; no question occurs twice.

        Raises:
            ConfigError: The dataset does not exist, refuses its config, or makes nothing in good time.
            VerifierError: reasoning-gym is not installed.
        """
        data = TaskData(train=[], held_out=[])
        room = {id(data.train): self.config.train_rows, id(data.held_out): self.config.held_out_rows}
        seen: set[str] = set()
        for index, question, answer in self._drawn():
            side = data.held_out if is_held_out(question) else data.train
            if question not in seen and len(side) < room[id(side)]:
                seen.add(question)
                side.append(self._row(index, question, answer))
            if len(seen) == sum(room.values()):
                break
        if not data.train:
            raise ConfigError(f"reasoning-gym's {self.config.dataset} made no training problem")
        return data

    def _row(self, index: int, question: str, answer: str) -> dict[str, Any]:
        return {"prompt": question, "answer": answer, "source": {**self._source(), "index": index}}

    def _source(self) -> dict[str, Any]:
        """The dataset in the sandbox. Its problem i has the seed + i: seeds far apart share no problems."""
        digest = hashlib.sha256(f"reasoning_gym/{self.config.seed}".encode()).digest()
        return {
            "dataset": self.config.dataset,
            "config": self.config.config,
            "seed": int.from_bytes(digest[:4]) >> 1,
            "size": self._draws(),
        }

    def _draws(self) -> int:
        """How many problems are drawn at most: twice what fills both sides where no question comes twice."""
        train = self.config.train_rows / (1 - HELD_OUT_SHARE)
        return 2 * math.ceil(max(train, self.config.held_out_rows / HELD_OUT_SHARE))

    def _drawn(self) -> Iterator[Drawn]:
        """Yields problem after problem."""
        source, began = source_text(self._source()), time.monotonic()
        for first in range(0, self._draws(), BATCH):
            reply = SANDBOX.ask(
                "gym_rows", cpu_seconds=BATCH_SECONDS, source=source, first=first, count=BATCH
            )
            yield from self._checked(reply)
            if time.monotonic() - began > MAX_SECONDS:
                raise self._too_slow()

    def _checked(self, reply: JsonValue) -> list[Drawn]:
        if not isinstance(reply, dict):
            raise self._too_slow()
        if "refused" in reply:
            raise ConfigError(f"parameters of task 'reasoning_gym': {reply['refused']}")
        rows: Any = reply["rows"]
        if not rows:
            raise ConfigError(
                f"reasoning-gym's {self.config.dataset} fails on its config: {reply['reasons']}"
            )
        return [(index, question, answer) for index, question, answer in rows]

    def _too_slow(self) -> ConfigError:
        return ConfigError(
            f"reasoning-gym's {self.config.dataset} takes too much time or memory to make its problems",
            hint="Lower train_rows and held_out_rows, or make the problems smaller with its config.",
        )


def build(config: ReasoningGymTaskConfig) -> ReasoningGymTask:
    """Returns the task."""
    return ReasoningGymTask(config=config)


ENTRY = TaskEntry(
    name="reasoning_gym",
    summary="Problems of a reasoning-gym dataset, by its name; verify with `reasoning_gym`.",
    prompt_characters=600,
    config=ReasoningGymTaskConfig,
    build=build,
)
