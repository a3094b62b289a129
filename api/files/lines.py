"""Checks a JSONL file: every line a JSON object of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from api.errors import Code, DomainError
from espo_contracts.validation import FieldError

MAX_LINE_BYTES = 1 << 20
MAX_ROWS = 10_000_000
MAX_COLUMNS = 256


def count_rows(path: Path) -> int:
    """Number of rows of a file that is right from its first line to its last.

    Raises:
        DomainError: naming the first line that is wrong, and why.
    """
    rows = 0
    with path.open("rb") as file:
        for number, line in _lines(file):
            reason = _fault(line) if rows < MAX_ROWS else f"a file has at most {MAX_ROWS} rows"
            if reason:
                raise _refusal(f"line {number}", reason)
            rows += 1
    if not rows:
        raise _refusal("file", "it has no rows")
    return rows


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, no more of one than may be in it; blank ones at the end are left out."""
    blank = None
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if not line.strip():
            blank = blank or number
            continue
        if blank is not None:
            yield blank, b""
        yield number, line


def _fault(line: bytes) -> str | None:
    """Why this line is no row."""
    if len(line.rstrip(b"\r\n")) > MAX_LINE_BYTES:
        return f"longer than {MAX_LINE_BYTES} bytes"
    if not line:
        return "blank"
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"not valid JSON: {error.msg} at character {error.pos + 1}"
    if not isinstance(row, dict):
        return f"not a JSON object but {_KINDS.get(type(row), 'null')}"
    return f"more than {MAX_COLUMNS} columns" if len(row) > MAX_COLUMNS else None


_KINDS: dict[type, str] = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
}


def _refusal(loc: str, reason: str) -> DomainError:
    return DomainError(Code.INVALID_FILE, f"{loc}: {reason}", errors=[FieldError(loc=loc, message=reason)])
