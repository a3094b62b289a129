"""Validation errors in words that help: a JSON path, what is wrong, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from espo_contracts.events import Record
from espo_contracts.job import JobSpec

Location = Sequence[str | int]


class FieldError(Record):
    """One thing that is wrong. `loc` is a JSON path such as `reward[0].weight`."""

    loc: str
    message: str


class SpecError(ValueError):
    """A job document has errors: all of them, in `errors`."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.loc}: {error.message}" for error in errors))
        self.errors = errors


def parse_job_spec(document: Any) -> JobSpec:
    """The JobSpec of a parsed JSON or YAML document.

    Raises:
        SpecError: with every error at once.
    """
    try:
        return JobSpec.model_validate(document)
    except ValidationError as error:
        raise SpecError(explain(JobSpec, error.errors(include_url=False))) from None


def explain(model: type[BaseModel], errors: Iterable[Any]) -> list[FieldError]:
    """FieldErrors of pydantic's error details for `model`, unknown fields with the nearest valid name."""
    return [
        FieldError(loc=json_path(error["loc"]), message=_message(model, error["loc"], error))
        for error in errors
    ]


def json_path(location: Location) -> str:
    """`("reward", 0, "weight")` as `reward[0].weight`; the whole document is `$`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "$"


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the closest valid name, else lists all."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"valid: {', '.join(names)}"


def _message(model: type[BaseModel], location: Location, error: Mapping[str, Any]) -> str:
    if error["type"] != "extra_forbidden":
        return str(error["msg"]).removeprefix("Value error, ")
    fields = _fields_at(model, location[:-1])
    return f"unknown field; {nearest(str(location[-1]), fields)}" if fields else "unknown field"


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields of the model that stands at `location` below `model`."""
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model inside an annotation such as `list[RewardPart]` or `Lora | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _model_in(argument))), None)
