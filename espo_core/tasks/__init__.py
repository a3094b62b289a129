"""Generated tasks: data that a seeded program makes."""

from espo_core.tasks.base import Task, TaskConfig, TaskData, TaskEntry
from espo_core.tasks.registry import TASKS, build_task

__all__ = ["TASKS", "Task", "TaskConfig", "TaskData", "TaskEntry", "build_task"]
