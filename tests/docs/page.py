"""A documentation page as what tests need of it: labelled code blocks, generated parts and table rows.

A block is labelled by the line before it, one word and a path: "From `path`:" quotes a file, "New `path`:" is
a file to write, "In `path`:" is a diff to apply, and "Run:" and "Prints:" are what they say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "algorithms.md"
BLOCK = re.compile(
    r"^(?P<label>From|New|In|Run|Prints)(?: `(?P<path>[\w./-]+)`)?:\n\n?```\w+\n(?P<text>.*?)^```$",
    re.M | re.S,
)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of the page."""

    label: str
    path: str | None
    text: str


def read() -> str:
    """The page."""
    return PAGE.read_text(encoding="utf-8")


def blocks(text: str, label: str) -> list[Block]:
    """The blocks of one label, in their order."""
    found = [Block(**match.groupdict()) for match in BLOCK.finditer(text)]
    return [block for block in found if block.label == label]


def generated(text: str, name: str) -> str:
    """What stands between the marks of a generated part."""
    return _marked(name).search(text)[2]


def with_generated(text: str, name: str, content: str) -> str:
    """The page with a generated part replaced."""
    return _marked(name).sub(lambda match: match[1] + content + match[3], text)


def section(text: str, title: str) -> str:
    """A section of the page, to the next that is not within it."""
    depth = len(title.split(maxsplit=1)[0])
    inside = rf"^{re.escape(title)}$(.*?)(?=^#{{1,{depth}}} [A-Z]|\Z)"
    return re.search(inside, text, re.M | re.S)[1]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a text's first table, without its head."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.M)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def prose(text: str) -> str:
    """The page without its code blocks."""
    return FENCED.sub("", text)


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^\n]*-->\n\n)(.*?)(\n<!-- end of {name} -->)", re.S)
