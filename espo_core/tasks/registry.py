"""The catalogue of generated tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espo_core.errors import unknown_name
from espo_core.parameters import parse_parameters
from espo_core.tasks import countdown, reasoning_gym
from espo_core.tasks.base import Task, TaskEntry

TASKS: dict[str, TaskEntry] = {module.ENTRY.name: module.ENTRY for module in (countdown, reasoning_gym)}


def build_task(name: str, parameters: Mapping[str, Any]) -> Task:
    """Returns a task by name.

    Raises:
        ConfigError: An unknown name or parameter (with the nearest valid one), or a value out of bounds.
    """
    if name not in TASKS:
        raise unknown_name(kind="task", name=name, valid=TASKS)
    entry = TASKS[name]
    return entry.build(parse_parameters(entry.config, parameters, what=f"task {name!r}"))
