"""The small model that the trainer's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from espo_contracts.spec import ModelSpec
from espo_core.policy import Policy, load_policy
from tests.espo_core.tiny import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small model. Read only."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def policy(tiny_model: Path) -> Policy:
    """The small model, loaded."""
    return load_policy(ModelSpec(name="tiny"), folder=tiny_model, device=torch.device("cpu"), seed=0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share few cores, and a run sets these itself for the whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
