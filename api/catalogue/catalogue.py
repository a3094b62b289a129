"""What the trainer knows: algorithms, verifiers and tasks, from the generated catalogue and without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from espo_contracts.validation import FieldError, json_path, nearest

Kind = Literal["algorithms", "verifiers", "tasks"]

_MESSAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Catalogue:
    """Entries by kind, as the file has them."""

    document: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def load(cls) -> Catalogue:
        """The catalogue that `make catalogue` wrote."""
        return cls(json.loads(files("espo_contracts").joinpath("catalogue.json").read_bytes()))

    def entries(self, kind: Kind) -> list[dict[str, Any]]:
        return self.document.get(kind, [])

    def check_name(self, kind: Kind, name: str, loc: str) -> list[FieldError]:
        """An error when there is no such entry, with the nearest name."""
        known = self._schemas[kind]
        if name in known:
            return []
        return [FieldError(loc=loc, message=f"no {kind.removesuffix('s')} {name!r}; {nearest(name, known)}")]

    def check_parameters(
        self, kind: Kind, name: str, parameters: Mapping[str, Any], *, loc: str
    ) -> list[FieldError]:
        """Every error of an entry's parameters; `loc` is where they stand. None for an unknown entry."""
        schema = self._schemas[kind].get(name)
        if schema is None:
            return []
        found = Draft202012Validator(schema).iter_errors(dict(parameters))
        return [explained for error in found for explained in _explain(error, loc)]

    def fill(self, kind: Kind, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, with the default of each that is not given."""
        properties = self._schemas[kind][name].get("properties", {})
        return {key: part["default"] for key, part in properties.items() if "default" in part} | dict(
            parameters
        )

    def prompt_characters(self, task: str) -> int | None:
        """Length of a usual prompt of a task."""
        found = [entry.get("prompt_characters") for entry in self.entries("tasks") if entry["name"] == task]
        return found[0] if found else None

    def samples_dynamically(self, algorithm: str) -> bool:
        """Whether an algorithm's paper does."""
        return any(
            entry["name"] == algorithm and entry.get("dynamic_sampling", False)
            for entry in self.entries("algorithms")
        )

    @cached_property
    def _schemas(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            kind: {entry["name"]: entry["parameters"] for entry in self.document.get(kind, [])}
            for kind in ("algorithms", "verifiers", "tasks")
        }


def _explain(error: ValidationError, loc: str) -> Iterator[FieldError]:
    at = json_path([*loc.split("."), *error.absolute_path])
    schema: Any = error.schema
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        valid = schema.get("properties", {})
        for name in sorted(set(instance) - set(valid)):
            yield FieldError(loc=f"{at}.{name}", message=f"unknown parameter; {nearest(name, valid)}")
    elif error.validator == "required":
        # One error for each missing name, which only the message has.
        name = error.message.split("'")[1]
        yield FieldError(loc=f"{at}.{name}", message="missing")
    elif error.validator == "enum" and isinstance(instance, str):
        hint = nearest(instance, [str(choice) for choice in schema["enum"]])
        yield FieldError(loc=at, message=f"no choice {instance[:64]!r}; {hint}")
    else:
        yield FieldError(loc=at, message=error.message[:_MESSAGE_CHARACTERS])
