"""JSON that satisfies a JSON Schema (https://json-schema.org, judged by the `jsonschema` library)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from espo_contracts.spec import Column
from espo_core.verifiers.base import UNVERIFIED, Row, Verdict, VerifierConfig, VerifierEntry
from espo_core.verifiers.sandbox import MAX_TEXT, SANDBOX

MAX_SCHEMA = 100_000


class JsonSchemaConfig(VerifierConfig):
    """Parameters of `json_schema`: exactly one of `schema_document` and `schema_column`."""

    schema_document: Annotated[dict[str, JsonValue], Field(max_length=64)] | None = None
    """The schema that every completion must satisfy. References to other documents are not followed."""
    schema_column: Column | None = None
    """Column of the data row with the schema of its completions: an object, or its text."""
    read: Literal["last", "whole"] = "last"
    """`last`: the whole completion if it is JSON, else its last fenced block that is, else the last object or
    array in it. `whole`: the completion must be JSON and nothing else."""
    timeout_seconds: Annotated[float, Field(ge=0.05, le=5)] = 1.0
    """CPU time for one completion; one that needs more is not verified."""

    @model_validator(mode="after")
    def _has_one_schema(self) -> Self:
        if (self.schema_document is None) == (self.schema_column is None):
            raise ValueError("give exactly one of schema_document and schema_column")
        if self.schema_document is not None:
            _check(self.schema_document)
        return self


def _check(schema: dict[str, Any]) -> None:
    """Raises ValueError where a schema cannot be used; in the sandbox, as a schema is a program of a kind."""
    if len(json.dumps(schema)) > MAX_SCHEMA:
        raise ValueError(f"schema_document is longer than {MAX_SCHEMA} characters")
    reason = SANDBOX.ask("schema_error", cpu_seconds=5.0, schema=schema)
    if reason != "":
        raise ValueError(f"schema_document is no schema: {reason or 'it cannot be checked in time'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """Judges a completion right if its JSON satisfies the schema; one without JSON is wrong."""

    config: JsonSchemaConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        schema = self._schema(row)
        if schema is None or len(completion) > MAX_TEXT:
            return UNVERIFIED
        return SANDBOX.judge(
            "schema",
            cpu_seconds=self.config.timeout_seconds,
            schema=schema,
            whole=self.config.read == "whole",
            text=completion,
        )

    def _schema(self, row: Row) -> Any:
        """The schema, or None where the row has none."""
        if self.config.schema_document is not None:
            return self.config.schema_document
        schema = row.get(str(self.config.schema_column))
        try:
            schema = json.loads(schema) if isinstance(schema, str) else schema
            is_usable = isinstance(schema, dict) and len(json.dumps(schema)) <= MAX_SCHEMA
        except (TypeError, ValueError, RecursionError):
            return None
        return schema if is_usable else None


def build(config: JsonSchemaConfig) -> JsonSchema:
    """Returns the verifier."""
    return JsonSchema(config=config)


ENTRY = VerifierEntry(
    name="json_schema",
    summary="The completion, or its last JSON, satisfies a JSON Schema.",
    config=JsonSchemaConfig,
    build=build,
)
