"""Checks a document against everything that is known before a worker sees it, and fills in every default.

All errors come at once: each part of a document that is well-formed by itself is checked against the
catalogue, the models and the project's rows, even where another part is broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.catalogue.catalogue import Catalogue
from api.catalogue.models import ModelFacts, facts_of
from api.checkpoints import repository as checkpoints
from api.files import repository as files
from api.jobs import repository
from api.jobs.workload import DataFacts
from api.settings import Settings
from espo_contracts.job import JobSpec
from espo_contracts.models import find_model, model_folders
from espo_contracts.spec import (
    AlgorithmSpec,
    CheckpointRef,
    FileId,
    HubDataset,
    ModelSpec,
    RewardPart,
    TaskRef,
)
from espo_contracts.validation import FieldError, SpecError, nearest, parse_job_spec

Value = TypeVar("Value")

_MOST_ERRORS = 100
_FILE_ID: TypeAdapter[str] = TypeAdapter(FileId)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """What documents of a project are checked against."""

    session: AsyncSession
    project_id: str
    catalogue: Catalogue
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A document that can be run."""

    resolved: JobSpec
    facts: ModelFacts | None
    """Of its model, where that lies in the model path."""
    data: DataFacts


async def prepare(checker: Checker, document: Any) -> Prepared:
    """The document as a job, with every default filled in.

    Raises:
        SpecError: with every error at once.
    """
    errors: list[FieldError] = []
    spec: JobSpec | None = None
    try:
        spec = parse_job_spec(document)
    except SpecError as error:
        errors += error.errors
    parts = document if isinstance(document, Mapping) else {}
    errors += _catalogue_errors(checker.catalogue, parts)
    errors += [error async for error in _reference_errors(checker, parts)]
    if errors or spec is None:
        raise SpecError([_bounded(error) for error in errors[:_MOST_ERRORS]])
    resolved = _filled(checker.catalogue, spec)
    facts = await asyncio.to_thread(_facts, spec.model.name, checker.settings.model_path)
    return Prepared(resolved=resolved, facts=facts, data=await _data_facts(checker, resolved))


def _bounded(error: FieldError) -> FieldError:
    """Without the megabytes of a name that a user may have sent."""
    return FieldError(loc=error.loc[:256], message=error.message[:1024])


def _facts(name: str | None, model_path: str) -> ModelFacts | None:
    folder = find_model(name, model_path) if name is not None else None
    return facts_of(folder) if folder is not None else None


async def _data_facts(checker: Checker, resolved: JobSpec) -> DataFacts:
    task = resolved.data.task
    if task is not None:
        rows = task.parameters.get("held_out_rows")
        characters = checker.catalogue.prompt_characters(task.name)
        return DataFacts(characters=characters, rows=rows if isinstance(rows, int) else None)
    file_id = resolved.data.file
    row = await files.get(checker.session, checker.project_id, file_id) if file_id is not None else None
    return DataFacts() if row is None else DataFacts(characters=row.bytes / max(1, row.rows), rows=row.rows)


def _well_formed(kind: Any, value: Any) -> Any:
    """The value as an instance of `kind`, or None where it is missing or, as reported already, broken."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None


def _part(parts: Mapping[str, Any], *path: str) -> Any:
    value: Any = parts
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _catalogue_errors(catalogue: Catalogue, parts: Mapping[str, Any]) -> Iterator[FieldError]:
    algorithm = _well_formed(AlgorithmSpec, parts.get("algorithm", {}))
    if algorithm is not None:
        yield from catalogue.check_name("algorithms", algorithm.name, "algorithm.name")
        yield from catalogue.check_parameters(
            "algorithms", algorithm.name, algorithm.parameters, loc="algorithm.parameters"
        )
    task = _well_formed(TaskRef, _part(parts, "data", "task"))
    if task is not None:
        yield from catalogue.check_name("tasks", task.name, "data.task.name")
        yield from catalogue.check_parameters("tasks", task.name, task.parameters, loc="data.task.parameters")
    rewards = parts.get("reward")
    for index, value in enumerate(rewards[:16] if isinstance(rewards, list) else []):
        yield from _reward_errors(catalogue, value, f"reward[{index}]")


def _reward_errors(catalogue: Catalogue, value: Any, loc: str) -> Iterator[FieldError]:
    reward = _well_formed(RewardPart, value)
    if reward is not None:
        yield from catalogue.check_name("verifiers", reward.verifier, f"{loc}.verifier")
        yield from catalogue.check_parameters(
            "verifiers", reward.verifier, reward.parameters, loc=f"{loc}.parameters"
        )


async def _reference_errors(checker: Checker, parts: Mapping[str, Any]) -> AsyncIterator[FieldError]:
    model = _well_formed(ModelSpec, parts.get("model"))
    if model is not None:
        async for error in _model_errors(checker, model):
            yield error
    file_id = _well_formed(FileId, _part(parts, "data", "file"))
    if file_id and await files.get(checker.session, checker.project_id, file_id) is None:
        yield FieldError(loc="data.file", message=f"no file {file_id!r}; upload it with POST /v1/files")
    if not checker.settings.allow_hub and _well_formed(HubDataset, _part(parts, "data", "hub")):
        yield FieldError(loc="data.hub", message="the operator does not allow hub datasets; upload a file")


async def _model_errors(checker: Checker, model: ModelSpec) -> AsyncIterator[FieldError]:
    if model.hub is not None and not checker.settings.allow_hub:
        yield FieldError(loc="model.hub", message="the operator does not allow hub models; give model.name")
    if model.checkpoint is not None:
        async for error in _checkpoint_errors(checker, model.checkpoint):
            yield error
    if model.name is not None:
        names = [folder.name for folder in await asyncio.to_thread(_folders, checker.settings.model_path)]
        if model.name not in names:
            yield FieldError(
                loc="model.name", message=f"no model {model.name!r}; {nearest(model.name, names)}"
            )


def _folders(model_path: str) -> list[Any]:
    return list(model_folders(model_path))


async def _checkpoint_errors(checker: Checker, wanted: CheckpointRef) -> AsyncIterator[FieldError]:
    if await repository.get(checker.session, checker.project_id, wanted.job) is None:
        yield FieldError(loc="model.checkpoint.job", message=f"no job {wanted.job!r}")
        return
    steps = [row.step for row in await checkpoints.of_job(checker.session, wanted.job)]
    if wanted.step not in steps:
        have = ", ".join(map(str, steps)) or "none"
        yield FieldError(
            loc="model.checkpoint.step", message=f"no checkpoint of step {wanted.step}; there are: {have}"
        )


def _filled(catalogue: Catalogue, spec: JobSpec) -> JobSpec:
    """The spec with the defaults of its algorithm, verifiers and task."""
    algorithm = spec.algorithm.model_copy(
        update={"parameters": catalogue.fill("algorithms", spec.algorithm.name, spec.algorithm.parameters)}
    )
    reward = [
        part.model_copy(update={"parameters": catalogue.fill("verifiers", part.verifier, part.parameters)})
        for part in spec.reward
    ]
    data, task = spec.data, spec.data.task
    if task is not None:
        filled = {"parameters": catalogue.fill("tasks", task.name, task.parameters)}
        data = data.model_copy(update={"task": task.model_copy(update=filled)})
    rollout = spec.rollout
    if rollout.dynamic_sampling is None:
        as_published = catalogue.samples_dynamically(algorithm.name)
        rollout = rollout.model_copy(update={"dynamic_sampling": as_published})
    filled_in = {"algorithm": algorithm, "reward": reward, "data": data, "rollout": rollout}
    return spec.model_copy(update=filled_in)
