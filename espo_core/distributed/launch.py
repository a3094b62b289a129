"""The start of a run on several devices from the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from espo_contracts.spec import ResourceSpec


def needs_ranks(resources: ResourceSpec, environment: Mapping[str, str]) -> bool:
    """Whether a job is for several processes and this is none that torchrun has started."""
    return resources.devices > 1 and "LOCAL_WORLD_SIZE" not in environment


def become_ranks(resources: ResourceSpec, arguments: Sequence[str]) -> None:
    """Replaces this process by torchrun, which starts `python -m espo_core` for each device."""
    options = ["--standalone", f"--nproc-per-node={resources.devices}"]
    environment = {"OMP_NUM_THREADS": str(resources.cpu_threads), **os.environ}
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "espo_core", *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606  our own interpreter, and no shell
