"""The OpenAPI document: what FastAPI cannot know by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from espo_contracts.job import JobSpec

_REFERENCE = "#/components/schemas/{model}"
_SPEC = {"schema": {"$ref": _REFERENCE.format(model="JobSpec")}}

JOB_DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": _SPEC, "application/yaml": _SPEC},
    }
}
"""A body that the endpoint reads itself, because it may be YAML."""

_PATCH = {"schema": {"type": "object"}, "example": {"seed": 2, "optimiser": {"learning_rate": 1e-4}}}
JOB_CHANGES: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": _PATCH, "application/merge-patch+json": _PATCH},
    }
}
"""A body that the endpoint reads itself, because it may be left out."""

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457, and beside it `error` in the shape that the OpenAI SDK reads.",
    "required": ["type", "title", "status", "detail", "errors", "request_id", "error"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"loc": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "request_id": {"type": ["string", "null"]},
        "error": {"type": "object"},
    },
}
_ANSWER = {
    "description": "A problem; `error.code` says which.",
    "content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
}


def install_openapi(app: FastAPI) -> None:
    """Makes `app.openapi()` complete: job documents, and problems in place of FastAPI's own errors."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            app.openapi_schema = _completed(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    spec = JobSpec.model_json_schema(ref_template=_REFERENCE)
    schemas.update(spec.pop("$defs"), JobSpec=spec, Problem=_PROBLEM)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["4XX"] = _ANSWER
    return document
