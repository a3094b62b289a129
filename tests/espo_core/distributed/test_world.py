from __future__ import annotations

import numpy as np
import pytest
import torch

from espo_contracts.spec import ResourceSpec
from espo_core.distributed.replicas import cut_like, gathered_tensors
from espo_core.distributed.world import ALONE, World, joined_world, world_of
from espo_core.errors import ConfigError
from espo_core.forest import Forest


@pytest.mark.parametrize(("count", "size"), [(7, 3), (2, 3), (0, 2), (8, 4)])
def test_shares_are_even_and_end_to_end(count: int, size: int) -> None:
    things = list(range(count))
    shares = [things[World(rank=rank, size=size).share(count)] for rank in range(size)]
    assert [one for share in shares for one in share] == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_sent() -> None:
    tensor = torch.arange(3)
    ALONE.sum_into([tensor])
    assert ALONE.joined(tensor) is tensor
    assert ALONE.gathered({"a": 1}) == [{"a": 1}]
    assert (ALONE.total(0.1), ALONE.is_first, ALONE.share(4)) == (0.1, True, slice(0, 4))


def test_the_place_that_torchrun_gives() -> None:
    given = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert world_of(given, devices=4) == World(rank=5, size=8, local_rank=1)
    assert world_of({}, devices=1) == ALONE


@pytest.mark.parametrize(("environment", "devices"), [({}, 2), ({"LOCAL_WORLD_SIZE": "2"}, 1)])
def test_torchrun_and_the_job_must_agree(environment: dict[str, str], devices: int) -> None:
    with pytest.raises(ConfigError, match=f"resources.devices is {devices}") as caught:
        world_of(environment, devices=devices)
    assert f"--nproc-per-node {devices}" in caught.value.hint


@pytest.mark.skipif(torch.cuda.device_count() >= 64, reason="this machine has them all")
def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    monkeypatch.setenv("WORLD_SIZE", "64")
    resources = ResourceSpec(device="gpu", devices=64)
    with (
        pytest.raises(ConfigError, match=r"devices is 64, but this machine has \d+ CUDA"),
        joined_world(resources),
    ):
        pass


def test_a_tensor_under_two_names_stays_one() -> None:
    tied = torch.ones(2)
    gathered = gathered_tensors({"a": tied, "b": tied, "c": torch.zeros(1)}, ALONE)
    assert list(gathered) == ["a", "b", "c"]
    assert gathered["a"] is gathered["b"]
    assert cut_like(tied, torch.zeros(2)) is not tied


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_ranks_read_about_as_many_nodes(count: int) -> None:
    # Sequences of 8 tokens that share 6 in pairs: 10 nodes a pair.
    ids = np.array([[pair] * 6 + [pair, end] for pair in range(4) for end in range(2)])
    forest = Forest(ids, np.full(8, 8), device=torch.device("cpu"))
    shares = forest.shares(count)
    assert [place for share in shares for place in range(8)[share]] == list(range(8))
    nodes = [Forest(ids[share], np.full(8, 8)[share], device=torch.device("cpu")).nodes for share in shares]
    assert max(nodes) <= forest.nodes / count + 8
