"""Texts with `{{sample.output_text}}` and `{{item.column}}` in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

OUTPUT = "sample.output_text"
MAX_FILLED = 1 << 20
"""Characters of a filled template: one that names a long value a thousand times would take gigabytes."""
_PLACE = re.compile(r"\{\{([^{}]*)\}\}")
_ITEM = re.compile(r"item(\.[A-Za-z_][A-Za-z0-9_]{0,63}){1,8}")


def places(template: str) -> Iterator[str]:
    """Names in a template, in order, without the white space around them."""
    return (match.group(1).strip() for match in _PLACE.finditer(template))


def check_template(template: str) -> str:
    """The template.

    Raises:
        ValueError: a name in it is neither the sample's text nor a column of the item.
    """
    for name in places(template):
        if name != OUTPUT and not _ITEM.fullmatch(name):
            raise ValueError(f"{{{{{name[:64]}}}}} is neither {{{{{OUTPUT}}}}} nor {{{{item.column}}}}")
    return template


def columns_in(template: str) -> frozenset[str]:
    """Columns of the item that a template reads."""
    return frozenset(name.split(".")[1] for name in places(template) if name != OUTPUT)


def fill(template: str, output: str, item: Mapping[str, Any]) -> str | None:
    """The text of a template, or None where it would be too long or the item lacks a value that it reads."""
    values = {name: output if name == OUTPUT else _value(name, item) for name in places(template)}
    lengths = [MAX_FILLED if (value := values[name]) is None else len(value) for name in places(template)]
    if None in values.values() or len(template) + sum(lengths) > MAX_FILLED:
        return None
    return _PLACE.sub(lambda match: str(values[match.group(1).strip()]), template)


def _value(name: str, item: Mapping[str, Any]) -> str | None:
    value: Any = item
    for key in name.split(".")[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None
