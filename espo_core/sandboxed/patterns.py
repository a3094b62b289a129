"""Regular expressions, which can backtrack for ever."""

from __future__ import annotations

import re
from typing import Any

Request = dict[str, Any]


def matches_pattern(request: Request) -> bool:
    """Returns whether the pattern is found in the text, or covers it."""
    pattern = re.compile(request["pattern"], request["flags"])
    found = pattern.fullmatch(request["text"]) if request["full"] else pattern.search(request["text"])
    return found is not None


def found_group(request: Request) -> str:
    """Returns the pattern's group where it is found last or first, or "" where it is not.

    `only` asks that the pattern cover the text.
    """
    pattern, text = re.compile(request["pattern"], request["flags"]), request["text"].strip()
    if request["take"] == "last":
        found = [match[1] for match in pattern.finditer(text)]
    else:
        match = pattern.search(text) if request["take"] == "first" else pattern.fullmatch(text)
        found = [match[1]] if match else []
    return str(found[-1] or "") if found else ""


HANDLERS = {"pattern": matches_pattern, "group": found_group}
