"""What the service tells of a job's needs, against runs and models that really are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from api.catalogue.models import facts_of
from api.jobs.memory import memory, sizes
from api.jobs.workload import Workload
from bench.memory import SHORT, Work, estimated, job, measured
from espo_contracts.spec import Lora, ModelSpec
from espo_core.forest import Forest
from espo_core.policy import Policy, load_policy, with_fused_layers
from tests.espo_core.tiny import save_tiny_model, tiny_job

GROUPS, GROUP, PROMPT, RESPONSE = 3, 4, 24, 16
LOAD = Workload(
    prompt=PROMPT,
    response=RESPONSE,
    group=GROUP,
    prompts=GROUPS,
    rounds=1,
    held_out=0,
    samples=1,
    groups=GROUPS,
)


@pytest.mark.slow
def test_the_estimate_is_within_a_quarter_of_the_peak_of_a_run() -> None:
    spec, data = job(Work(name="countdown3", file="countdown3.yaml", changes=SHORT))
    told, found = estimated(spec, data), measured(spec, data)
    assert told.memory_bytes == pytest.approx(found.peak, rel=0.25)
    assert found.at_import < found.at_start < found.peak


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
def test_activations_are_what_a_forward_pass_keeps(lora: dict[str, int] | None, tmp_path: Path) -> None:
    """On a GPU, where no heap has holes."""
    changes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4}
    folder = save_tiny_model(tmp_path / "tiny", **changes)
    adapters = None if lora is None else Lora(**lora)
    given = ModelSpec(name="tiny", lora=adapters)
    policy = with_fused_layers(load_policy(given, folder=folder, device=torch.device("cpu"), seed=0))
    facts = facts_of(folder)
    assert facts is not None
    spec = tiny_job(model={"name": "tiny", "lora": lora}, resources={"device": "gpu"})
    one = sizes(spec, facts, LOAD)
    assert one is not None
    assert memory(one).activations == pytest.approx(_kept(policy), rel=0.15)
    assert one.trainable == sum(parameter.numel() for parameter in policy.trainable().values())


def _kept(policy: Policy) -> int:
    """Bytes that a forward pass over groups of random tokens keeps for its backward pass."""
    random = np.random.default_rng(0)
    rows = [
        np.concatenate([prompt, random.integers(3, 22, RESPONSE)])
        for prompt in random.integers(3, 22, (GROUPS, PROMPT))
        for _ in range(GROUP)
    ]
    own = {parameter.untyped_storage().data_ptr() for parameter in policy.model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    lengths = np.full(len(rows), PROMPT + RESPONSE)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        states = policy.read(Forest(np.array(rows), lengths, device=torch.device("cpu")))
    assert states.requires_grad
    return sum(kept.values())
