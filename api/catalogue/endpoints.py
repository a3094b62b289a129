"""`GET /v1/algorithms`, `/verifiers`, `/tasks`, `/models`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api.catalogue.models import list_models
from api.dependencies import Reader, Shared
from api.pages import Page, page_of

router = APIRouter(prefix="/v1", tags=["catalogue"])


class Entry(BaseModel):
    """An algorithm, verifier or task, with the JSON Schema of its parameters."""

    id: str
    name: str
    title: str
    summary: str
    paper: str | None = None
    fidelity: str | None = None
    dynamic_sampling: bool | None = None
    parameters: dict[str, Any]


class Model(BaseModel):
    """A model that a job may name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "operator"
    name: str
    parameters: int
    bytes: int
    architecture: str | None
    vocabulary: int | None
    layers: int | None
    hidden: int | None


@router.get("/algorithms")
async def list_algorithms(_: Reader, shared: Shared) -> Page[Entry]:
    """Policy objectives."""
    return _entries(shared.catalogue.entries("algorithms"))


@router.get("/verifiers")
async def list_verifiers(_: Reader, shared: Shared) -> Page[Entry]:
    """Reward functions."""
    return _entries(shared.catalogue.entries("verifiers"))


@router.get("/tasks")
async def list_tasks(_: Reader, shared: Shared) -> Page[Entry]:
    """Generated tasks."""
    return _entries(shared.catalogue.entries("tasks"))


@router.get("/models")
async def list_base_models(_: Reader, shared: Shared) -> Page[Model]:
    """Models of the operator's model path."""
    facts = await asyncio.to_thread(list_models, shared.settings.model_path)
    return page_of([Model(id=fact.name, created=int(fact.created_at), **asdict(fact)) for fact in facts])


def _entries(entries: list[dict[str, Any]]) -> Page[Entry]:
    return page_of([Entry(**{"id": entry["name"], "title": entry["name"], **entry}) for entry in entries])
