"""The results on disk: one JSON line a finished run, kept at once, never made twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def append(path: Path, line: Line) -> None:
    """Adds a line in a single write and waits for the disk; a line that a crash cut off is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_ended = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    text = ("" if is_ended else "\n") + json.dumps(line, separators=(",", ":")) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> dict[str, Line]:
    """The lines by key. A last line that was cut off by a crash is left out, and its run is made again."""
    if not path.exists():
        return {}
    found = {}
    for text in path.read_text(encoding="utf-8").split("\n"):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[line["key"]] = line
    return found
