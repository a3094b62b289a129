from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from espo_core import checkpoint as module
from espo_core.checkpoint import (
    TrainingState,
    checkpoint_folder,
    load_training_state,
    newest_checkpoint,
    prune,
    save_checkpoint,
)
from espo_core.errors import CheckpointError
from espo_core.policy import Policy
from espo_core.samplers.base import SamplerState
from tests.small_disk import small_disk

TENSORS = {"optimiser/exp_avg/a": torch.arange(6.0).view(2, 3).T, "optimiser/step/a": torch.tensor(3.0)}


def state(step: int = 5) -> TrainingState:
    return TrainingState(step=step, seed=1, sampler=SamplerState(prompts=9, epoch=1, position=2))


def test_what_is_saved_is_loaded(policy: Policy, tmp_path: Path) -> None:
    files = save_checkpoint(tmp_path, policy, state(), TENSORS)
    folder = checkpoint_folder(tmp_path, 5)
    for entry in files:
        content = (folder / entry.name).read_bytes()
        assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert {entry.name for entry in files} == {path.name for path in folder.iterdir()}
    loaded, tensors = load_training_state(folder)
    assert loaded == state()
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], one) for name, one in TENSORS.items())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_saving_again_replaces_and_a_half_written_one_is_never_seen(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-5.partial").mkdir()
    (tmp_path / ".checkpoint-5.partial" / "rest").write_text("of a killed run")
    save_checkpoint(tmp_path, policy, state(), {})
    save_checkpoint(tmp_path, policy, state(), TENSORS)
    assert load_training_state(tmp_path / "checkpoint-5")[1].keys() == TENSORS.keys()
    assert not (tmp_path / "checkpoint-5" / "rest").exists()


def test_a_place_that_cannot_be_written(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="checkpoint 5 cannot be written"):
        save_checkpoint(tmp_path / "file", policy, state(), {})


@pytest.mark.parametrize("room", range(0, 120_000, 12_000))
def test_a_full_disk_is_waited_for(
    policy: Policy, tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the checkpoint it fills up."""
    monkeypatch.setattr(module, "_FULL_DISK_PAUSE_SECONDS", 0.01)
    warnings: list[str] = []
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        disk.fill(but_bytes=room)

        def warn(message: str) -> None:
            assert [path.name for path in disk.folder.iterdir()] == [".ballast"], "something is half-written"
            warnings.append(message)
            disk.free()

        files = save_checkpoint(disk.folder, policy, state(), TENSORS, warn)
        assert load_training_state(checkpoint_folder(disk.folder, 5))[0] == state()
        is_too_large = sum(entry.size for entry in files) > room  # it may also be so by its last blocks
        assert len(warnings) in {is_too_large, 1}
        assert set(warnings) <= {"the disk is full: the run waits with its checkpoint of step 5 for space"}


def test_a_disk_that_stays_full_ends_the_run_in_words(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FULL_DISK_SECONDS", 0.0)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        disk.fill()
        with pytest.raises(CheckpointError, match=r"checkpoint 5 cannot be written: .*space"):
            save_checkpoint(disk.folder, policy, state(), TENSORS)
        assert [path.name for path in disk.folder.iterdir()] == [".ballast"]


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 2},
        {"step": 0},
        {"extra": 1},
        {"sampler": {"prompts": 9, "epoch": -1, "position": 2}},
    ],
)
def test_a_state_of_another_form_is_refused(
    damage: dict[str, object], policy: Policy, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, policy, state(), TENSORS)
    path = tmp_path / "checkpoint-5" / "training_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(CheckpointError, match="checkpoint-5 cannot be resumed"):
        load_training_state(tmp_path / "checkpoint-5")


def test_the_newest_is_the_highest_step(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-best", ".checkpoint-11.partial"):
        (tmp_path / name).mkdir()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [(2, None, {4, 5}), (2, 1, {1, 4, 5}), (2, 5, {3, 4, 5}), (9, None, {1, 2, 3, 4, 5})],
)
def test_pruning_keeps_the_newest_and_the_best(
    keep: int, best: int | None, left: set[int], tmp_path: Path
) -> None:
    for step in range(1, 6):
        checkpoint_folder(tmp_path, step).mkdir()
    prune(tmp_path, keep=keep, best=best)
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in left}


def test_a_model_whose_files_vanished(policy: Policy, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, policy, state(), TENSORS)
    shutil.rmtree(tmp_path / "checkpoint-5")
    with pytest.raises(CheckpointError):
        load_training_state(tmp_path / "checkpoint-5")
