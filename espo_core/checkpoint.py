"""Checkpoints: a Hugging Face folder plus what a run needs to continue as if it had never stopped.

training_state.json holds step, seed and the sampler's place; training_state.safetensors the optimiser's
moments and the adapters; both hold what was sampled ahead (pending.py). Every random number derives from seed
and step (randomness.py), so there is no random state to keep.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from espo_contracts.events import FileEntry
from espo_core.errors import CheckpointError
from espo_core.pending import PendingRollout
from espo_core.policy import Policy
from espo_core.samplers.base import SamplerState

TENSORS, STATE = "training_state.safetensors", "training_state.json"


class TrainingState(BaseModel):
    """The part of the state that is not tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    step: int = Field(ge=1)
    """Steps done."""
    seed: int
    sampler: SamplerState
    pending: list[PendingRollout] = Field(default_factory=list, max_length=8)
    """Of the steps that follow, in their order."""


def checkpoint_folder(work_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return work_dir / f"checkpoint-{step}"


def save_checkpoint(
    work_dir: Path, policy: Policy, state: TrainingState, tensors: Mapping[str, Tensor]
) -> list[FileEntry]:
    """Writes a checkpoint, which appears whole or not at all, and returns its files.

    Raises:
        CheckpointError: it cannot be written.
    """
    target = checkpoint_folder(work_dir, state.step)
    partial = work_dir / f".{target.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial)
        save_file({name: one.contiguous() for name, one in tensors.items()}, partial / TENSORS)
        (partial / STATE).write_text(state.model_dump_json(indent=2))
        entries = [_settled(path) for path in sorted(partial.iterdir()) if path.is_file()]
        _publish(partial, target)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {state.step} cannot be written: {error}") from error
    return entries


def load_training_state(folder: Path) -> tuple[TrainingState, dict[str, Tensor]]:
    """The state and tensors of a checkpoint.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        state = TrainingState.model_validate_json((folder / STATE).read_bytes())
        return state, load_file(folder / TENSORS)
    except (OSError, ValidationError, SafetensorError) as error:
        raise CheckpointError(f"{folder.name} cannot be resumed: {error}") from error


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def newest_checkpoint(work_dir: Path) -> Path | None:
    """The complete checkpoint of the highest step in a folder."""
    steps = _steps(work_dir)
    return checkpoint_folder(work_dir, steps[-1]) if steps else None


def prune(work_dir: Path, *, keep: int, best: int | None) -> None:
    """Removes all but the newest `keep` checkpoints and the best one, given by its step."""
    steps = [step for step in _steps(work_dir) if step != best]
    for step in steps[:-keep]:
        shutil.rmtree(checkpoint_folder(work_dir, step))


def _steps(work_dir: Path) -> list[int]:
    """Steps of the complete checkpoints in a folder, in order."""
    names = (one.name.removeprefix("checkpoint-") for one in work_dir.glob("checkpoint-*"))
    return sorted(int(name) for name in names if name.isdigit())


def _settled(path: Path) -> FileEntry:
    """The entry of a file whose bytes have reached the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    path.chmod(0o644)
    return FileEntry(name=path.name, size=path.stat().st_size, sha256=digest)


def _publish(partial: Path, target: Path) -> None:
    _sync_folder(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
