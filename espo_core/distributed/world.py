"""The processes of one run, and what they tell each other: tensors and JSON, never pickles.

Every process (a rank) runs the same loop on the same prompts. A share of the work is its own, and what came
of it is gathered at once, so that all ranks know all of it and decide alike. Alone, nothing is sent.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from espo_contracts.spec import ResourceSpec
from espo_core.errors import ConfigError

# A rank may wait this long for another, which may write a large checkpoint or have drawn the longest
# responses. The death of a rank is noticed by whoever started it, long before.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Which of how many ranks this process is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine, and so the number of its device."""
    group: dist.ProcessGroup | None = None
    """The channel of a thread of its own; it takes tensors on the CPU alone."""

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """This rank tells the events and writes the checkpoints."""
        return self.rank == 0

    @property
    def purpose(self) -> tuple[str | int, ...]:
        """What sets the random numbers of this rank apart; nothing on the first."""
        return () if self.is_first else ("rank", self.rank)

    def apart(self) -> World:
        """The same ranks for another thread, whose words do not mix with those of this one."""
        if self.is_alone:
            return self
        return replace(self, group=dist.new_group(backend="gloo", timeout=PATIENCE))

    def share(self, count: int) -> slice:
        """The part of `count` things in a row that is this rank's.

        Parts are as equal as can be, and end to end they are the whole.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def joined(self, mine: Tensor) -> Tensor:
        """The tensors [n_r, …] of all ranks end to end, in their order; they differ in n_r at most."""
        if self.is_alone:
            return mine
        sent = mine.contiguous() if self.group is None else mine.contiguous().cpu()
        sizes = self._sizes(len(sent), sent.device)
        if not any(sizes):
            return mine
        # Bytes, so that any type will do; padded, because all ranks must send as much.
        rows = sent.view(len(sent), math.prod(sent.shape[1:])).view(torch.uint8)
        padded = rows.new_zeros((max(sizes), rows.shape[1]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        whole = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        return whole.view(mine.dtype).view(-1, *mine.shape[1:]).to(mine.device)

    def gathered(self, mine: Any) -> list[Any]:
        """The JSON documents of all ranks, in their order."""
        if self.is_alone:
            return [mine]
        text = torch.frombuffer(bytearray(json.dumps(mine).encode()), dtype=torch.uint8)
        sizes = self._sizes(len(text), text.device)
        parts = torch.split(self.joined(text), sizes)
        return [json.loads(part.numpy().tobytes()) for part in parts]

    def sum_into(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over all ranks."""
        if not self.is_alone:
            for one in tensors:
                dist.all_reduce(one, group=self.group)

    def total(self, mine: float) -> float:
        """The sum of a number over all ranks."""
        return mine if self.is_alone else float(sum(self.gathered(mine)))

    def _sizes(self, mine: int, device: torch.device) -> list[int]:
        sizes = torch.zeros(self.size, dtype=torch.int64, device=device)
        sizes[self.rank] = mine
        dist.all_reduce(sizes, group=self.group)
        return [int(one) for one in sizes.tolist()]


ALONE = World()


@contextmanager
def joined_world(resources: ResourceSpec) -> Iterator[World]:
    """The world that torchrun has started this process in, or one of its own, for the time of the block.

    Raises:
        ConfigError: the job asks for other devices than torchrun was told, or than there are.
    """
    world = world_of(os.environ, devices=resources.devices)
    if world.is_alone:
        yield world
        return
    if resources.device == "gpu":
        _check_gpus(resources.devices)
        torch.cuda.set_device(world.local_rank)
    backend = "cpu:gloo,cuda:nccl" if resources.device == "gpu" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    yield world
    # Not after an error: the others may be gone, and it would wait for them.
    dist.destroy_process_group()


def _check_gpus(devices: int) -> None:
    present = torch.cuda.device_count()
    if present < devices:
        raise ConfigError(
            f"resources.devices is {devices}, but this machine has {present} CUDA devices",
            hint="Ask for as many as there are, or set resources.device to cpu.",
        )


def world_of(environment: Mapping[str, str], *, devices: int) -> World:
    """The place that torchrun's environment gives to this process; alone where there is none.

    Raises:
        ConfigError: the job asks for several devices and torchrun was not used, or told another number.
    """
    ranks = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if ranks != devices:
        raise ConfigError(
            f"resources.devices is {devices}, but {ranks} process{'es' * (ranks > 1)} of this run "
            "were started on this machine",
            hint=f"Start it with torchrun --standalone --nproc-per-node {devices}.",
        )
    return World(
        rank=int(environment.get("RANK", "0")),
        size=int(environment.get("WORLD_SIZE", "1")),
        local_rank=int(environment.get("LOCAL_RANK", "0")),
    )
