"""JSON in a text, and whether it satisfies a JSON Schema: its patterns and references can run for ever."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

Request = dict[str, Any]
OPENING = re.compile(r"[{\[]")
# A text with so many brackets that begin no JSON, or fences around none, is taken for one without: bounds
# that no clock decides.
MAX_OPENINGS = 10_000
MAX_FENCES = 100


def strict_json(text: str) -> Any:
    """Returns the value of a text that is JSON and nothing else.

    Raises:
        ValueError: It is not; NaN and infinities, which Python reads, are no JSON.
    """
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def fenced_blocks(text: str) -> Iterator[str]:
    """Yields what the last fences of ``` enclose, from the last: as it is, and without its first line, which
    may name a language."""
    parts = text.split("```")
    # Between the fences 2k and 2k + 1; a last fence that is not closed encloses nothing.
    for block in parts[1 : len(parts) - 1 : 2][: -MAX_FENCES - 1 : -1]:
        yield block
        yield block.partition("\n")[2]


def last_object(text: str) -> Any:
    """Returns the last object or array of a text that is not inside another.

    Raises:
        ValueError: There is none.
    """
    decoder, place, failures = json.JSONDecoder(parse_constant=_no_constant), 0, 0
    found: list[Any] = []
    while failures < MAX_OPENINGS and (start := OPENING.search(text, place)):
        try:
            value, place = decoder.raw_decode(text, start.start())
            found = [value]
        except ValueError:
            place, failures = start.end(), failures + 1
    if not found:
        raise ValueError("no JSON in the text")
    return found[0]


def json_in(text: str, *, whole: bool) -> Any:
    """Returns the JSON of a text: the whole, else its last fenced block, else its last object or array.

    Raises:
        ValueError: There is none.
    """
    if whole:
        return strict_json(text)
    for candidate in (text, *fenced_blocks(text)):
        try:
            return strict_json(candidate)
        except ValueError:
            continue
    return last_object(text)


def validator_of(schema: Any) -> Any:
    """Returns a validator that follows no reference to another document: the library would fetch it."""
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    kind = validators.validator_for(schema, default=Draft202012Validator)
    return kind(schema, registry=Registry())


def schema_error(request: Request) -> str:
    """Returns why a schema is none, or ""."""
    validator = validator_of(request["schema"])
    try:
        validator.check_schema(request["schema"])
    except Exception as error:  # noqa: BLE001  (the library's errors have no common base)
        return str(getattr(error, "message", error))[:300] or type(error).__name__
    return ""


def satisfies_schema(request: Request) -> bool:
    """Returns whether the text's JSON satisfies the schema."""
    validator = validator_of(request["schema"])
    validator.check_schema(request["schema"])
    try:
        value = json_in(request["text"], whole=request["whole"])
    except ValueError:
        return False
    return bool(validator.is_valid(value))


HANDLERS = {"schema": satisfies_schema, "schema_error": schema_error}
