"""Ids of rows: a noun and a time-ordered UUID, so that they sort by age and nobody guesses another's."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id(noun: str) -> str:
    """Such as `job-0199…`: 32 hex digits after the noun."""
    return f"{noun}-{uuid7().hex}"
