"""Write espo_contracts/catalogue.json: what the API may offer and check without importing the trainer.

`python -m espo_core.catalogue` writes it; with `--check` it exits 1 where the file differs from the code.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

import espo_contracts
from espo_core.algorithms import ALGORITHMS
from espo_core.tasks import TASKS
from espo_core.verifiers import VERIFIERS

PATH = Path(espo_contracts.__file__).with_name("catalogue.json")


class Entry(Protocol):
    """What algorithms, verifiers and tasks have in common."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def config(self) -> type[BaseModel]: ...


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """The catalogue as plain JSON values, entries in order of their names."""
    return {
        "algorithms": _section(ALGORITHMS),
        "tasks": _section(TASKS),
        "verifiers": _section(VERIFIERS),
    }


def render() -> str:
    """The catalogue file's text: the same for the same code."""
    return json.dumps(catalogue(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def is_current(path: Path) -> bool:
    """True where the file holds what the code says."""
    return path.is_file() and path.read_text(encoding="utf-8") == render()


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 where `--check` finds the file stale."""
    parser = argparse.ArgumentParser(prog="python -m espo_core.catalogue", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is stale")
    parser.add_argument("--path", type=Path, default=PATH, help="the catalogue file")
    options = parser.parse_args(arguments)
    if not options.check:
        options.path.write_text(render(), encoding="utf-8")
        return 0
    if is_current(options.path):
        return 0
    print(f"{options.path.name} is stale: run `make catalogue` and commit the result", file=sys.stderr)
    return 1


def _section(entries: Mapping[str, Entry]) -> list[dict[str, Any]]:
    return [_entry(entries[name]) for name in sorted(entries)]


def _entry(entry: Entry) -> dict[str, Any]:
    """One entry; what only algorithms or tasks have, where it has it."""
    described = {"name": entry.name, "summary": entry.summary, "title": entry.name}
    for optional in ("title", "paper", "fidelity", "dynamic_sampling", "prompt_characters"):
        if hasattr(entry, optional):
            described[optional] = getattr(entry, optional)
    return {**described, "parameters": _unwrapped(entry.config.model_json_schema())}


def _unwrapped(schema: Any) -> Any:
    """The schema with each description on one line, as docstrings are wrapped for the source file."""
    if isinstance(schema, list):
        return [_unwrapped(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _unwrapped(value) for key, value in schema.items()}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(plain["description"].split())
    return plain


if __name__ == "__main__":
    sys.exit(main())
