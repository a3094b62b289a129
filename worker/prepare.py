"""From an assignment to an order: every file that the run needs, on this machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from espo_contracts.events import Failed, FileEntry
from espo_contracts.job import FailureCode, JobSpec
from espo_contracts.models import find_model, model_folders
from espo_contracts.wire import Assignment, StoredFiles
from worker.cache import Cache
from worker.order import RunOrder


class UnpreparedError(Exception):
    """The run cannot begin, and why; `failed` is for its user."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a worker takes files from."""

    client: Redis
    cache: Cache
    model_path: str
    allow_hub: bool


def prepare(sources: Sources, assignment: Assignment, folder: Path, stop: threading.Event) -> RunOrder:
    """The order of this attempt; its files lie in `folder`.

    Raises:
        UnpreparedError: the model is not here, or a hub is asked for where none is allowed.
        TransferError: the store does not have a file.
        Cancelled: `stop` was set.
        OSError: the disk is full.
    """
    spec = assignment.spec
    _check_hub(sources, spec)

    def brought(name: str, files: list[FileEntry] | None) -> Path | None:
        return (files and sources.cache.bring(sources.client, files, folder / name, stop)) or None

    data = brought("data", [assignment.data] if assignment.data else None)
    base = brought("base", _files(assignment.base))
    return RunOrder(
        spec=spec,
        work_dir=folder / "work",
        model=base or _named_model(sources, spec),
        data_file=data and assignment.data and data / assignment.data.name,
        resume=brought("resume", _files(assignment.resume)),
    )


def _files(stored: StoredFiles | None) -> list[FileEntry] | None:
    return stored.files if stored is not None else None


def _named_model(sources: Sources, spec: JobSpec) -> Path | None:
    name = spec.model.name
    if name is None:
        return None
    folder = find_model(name, sources.model_path)
    if folder is None:
        names = ", ".join(found.name for found in model_folders(sources.model_path)) or "none"
        raise UnpreparedError(
            Failed(
                code=FailureCode.MODEL_NOT_FOUND,
                message=f"this worker has no model named {name!r}",
                hint=f"Models of this worker: {names}. Put its folder into one of the folders of "
                "ESPO_MODEL_PATH, on every worker.",
            )
        )
    return folder


def _check_hub(sources: Sources, spec: JobSpec) -> None:
    asked = [part for part, hub in (("model", spec.model.hub), ("data", spec.data.hub)) if hub is not None]
    if asked and not sources.allow_hub:
        raise UnpreparedError(
            Failed(
                code=FailureCode.INVALID_SPEC,
                message=f"{' and '.join(asked)} of the hub, which this worker may not use",
                hint="Set ESPO_ALLOW_HUB=true on the workers, or use a local model and an uploaded file.",
            )
        )
