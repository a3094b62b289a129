"""How a reference and an answer are read from text."""

from __future__ import annotations

from espo_core.verifiers.base import Row


def reference_text(row: Row, column: str) -> str | None:
    """Returns the reference of a row as text, or None where the column is missing or is no scalar."""
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)


def answer_part(completion: str, marker: str | None) -> str | None:
    """Returns what follows the last `marker` (all text if that is None), or None where it is absent."""
    if marker is None:
        return completion
    _, found, answer = completion.rpartition(marker)
    return answer if found else None
