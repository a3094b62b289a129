"""The device of a run."""

from __future__ import annotations

import torch

from espo_contracts.spec import ResourceSpec
from espo_core.distributed.world import ALONE, World
from espo_core.errors import ConfigError


def prepare_device(resources: ResourceSpec, world: World = ALONE) -> torch.device:
    """The device of a run; on a CPU everything that torch does on it is then reproducible.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if resources.device == "gpu":
        if not torch.cuda.is_available():
            raise ConfigError(
                "resources.device is gpu, but this machine has no CUDA device",
                hint="Set resources.device to cpu, or run the job on a machine with a GPU.",
            )
        return torch.device("cuda") if world.is_alone else torch.device("cuda", world.local_rank)
    torch.set_num_threads(resources.cpu_threads)
    torch.use_deterministic_algorithms(True)
    # Every buffer is written before it is read; filling each with NaN first costs several percent.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cpu")
