"""What a check of an installation found, and what to do about it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["ok", "warn", "fail"]


class Finding(BaseModel):
    """`fail`: jobs cannot run like this. `warn`: they can, but the operator should know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    check: str
    level: Level
    message: str
    hint: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check=check, level="ok", message=message)


def warn(check: str, message: str, hint: str) -> Finding:
    return Finding(check=check, level="warn", message=message, hint=hint)


def fail(check: str, message: str, hint: str) -> Finding:
    return Finding(check=check, level="fail", message=message, hint=hint)
