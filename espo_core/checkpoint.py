"""Checkpoints: a Hugging Face folder plus what a run needs to continue as if it had never stopped.

training_state.json holds step, seed and the sampler's place; training_state.safetensors the optimiser's
moments and the adapters; both hold what was sampled ahead (pending.py). Every random number derives from seed
and step (randomness.py), so there is no random state to keep.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
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
FULL_DISK_SECONDS = 600.0
_FULL_DISK_PAUSE_SECONDS = 1.0
_NO_SPACE = re.compile(rf"(os error|code:) ({errno.ENOSPC}|{errno.EDQUOT})\b")


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
    work_dir: Path,
    policy: Policy,
    state: TrainingState,
    tensors: Mapping[str, Tensor],
    warn: Callable[[str], None] = lambda _: None,
) -> list[FileEntry]:
    """Writes a checkpoint, which appears whole or not at all, and returns its files.

    A full disk is waited for: what is uploaded makes room, and so does whoever reads the warning.

    Raises:
        CheckpointError: it cannot be written, or there was no room for ten minutes.
    """
    target = checkpoint_folder(work_dir, state.step)
    partial = work_dir / f".{target.name}.partial"
    gives_up_at = time.monotonic() + FULL_DISK_SECONDS
    is_warned = False
    while True:
        try:
            entries = _written(partial, policy, state, tensors)
            _publish(partial, target)
        except Exception as error:  # tokenizers raises no other
            shutil.rmtree(partial, ignore_errors=True)
            is_full = _is_full_disk(error)
            if not is_full and not isinstance(error, (OSError, SafetensorError)):
                raise
            if not is_full or time.monotonic() > gives_up_at:
                raise CheckpointError(f"checkpoint {state.step} cannot be written: {error}") from error
        else:
            return entries
        if not is_warned:
            is_warned = True
            warn(f"the disk is full: the run waits with its checkpoint of step {state.step} for space")
        time.sleep(_FULL_DISK_PAUSE_SECONDS)


def _written(
    partial: Path, policy: Policy, state: TrainingState, tensors: Mapping[str, Tensor]
) -> list[FileEntry]:
    """The files of the checkpoint, written to a new folder."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    policy.save(partial)
    save_file({name: one.contiguous() for name, one in tensors.items()}, partial / TENSORS)
    (partial / STATE).write_text(state.model_dump_json(indent=2))
    return [_settled(path) for path in sorted(partial.iterdir()) if path.is_file()]


def _is_full_disk(error: Exception) -> bool:
    """Whether there was no room. What is written in Rust, tensors and tokenizers, says so in words only."""
    number = getattr(error, "errno", None)
    return number in {errno.ENOSPC, errno.EDQUOT} or _NO_SPACE.search(str(error)) is not None


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
