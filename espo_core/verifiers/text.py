"""How a reference and an answer are read from text."""

from __future__ import annotations

from typing import Literal

from espo_core.verifiers.base import Row

Extract = Literal["all", "last_line", "answer_tags"]


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


def extracted(completion: str, how: Extract) -> str | None:
    """Returns the answer in a completion, without white space at its ends, or None where there is none.

    `last_line` is the last that is not empty, `answer_tags` what stands in the last `<answer>…</answer>`.
    """
    text = completion.strip()
    if how == "last_line":
        # Only "\n" ends a line: splitlines() would also end one at a form feed.
        text = text.rpartition("\n")[2].strip()
    elif how == "answer_tags":
        before, end, _ = text.rpartition("</answer>")
        _, start, text = before.rpartition("<answer>")
        text = text.strip() if start and end else ""
    return text or None
