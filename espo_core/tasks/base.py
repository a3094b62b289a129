"""What a task is: a seeded program that makes training and held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from espo_contracts.part import Part


class TaskConfig(Part):
    """Parameters of a task: frozen, and an unknown one is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """Rows of a task: `prompt`, `answer` (one right answer of perhaps many) and what its verifier reads."""

    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]


class Task(Protocol):
    """Makes the same rows every time."""

    def rows(self) -> TaskData: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """A task of the catalogue."""

    name: str
    summary: str
    prompt_characters: int
    """Length of a usual prompt, by which the needs of a job are estimated."""
    config: type[TaskConfig]
    build: Callable[[Any], Task]
    """From an instance of `config`."""
