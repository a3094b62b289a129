"""The start of a rank for each device of this machine, by torchrun in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from espo_contracts.spec import ResourceSpec


def needs_ranks(resources: ResourceSpec, environment: Mapping[str, str]) -> bool:
    """Whether a job is for several processes and this is none that torchrun has started."""
    return resources.devices > 1 and "LOCAL_WORLD_SIZE" not in environment


def is_first_rank(environment: Mapping[str, str]) -> bool:
    """Whether this process is the first of those that torchrun has started, or alone."""
    return environment.get("RANK", "0") == "0"


def run_ranks(devices: int, module: str, arguments: Sequence[str], *, folder: Path) -> dict[int, int]:
    """Exit statuses of the ranks of `python -m module` that failed, as they were seen; once one has, torchrun
    ends the others.

    They live in sessions of their own, as torchrun has it. The folder is for the time of the run.

    Raises:
        KeyboardInterrupt: this process was told to end, and has told the ranks.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # until a rank knows its `cpu_threads`
    if sys.platform == "linux":  # all are on this machine, and nobody else need reach them
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")
    try:
        run(parse_args([*_options(devices, folder), "-m", module, *arguments]))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException as signal:
        raise KeyboardInterrupt from signal
    return {}


def _options(devices: int, folder: Path) -> list[str]:
    """As `--standalone` has them, but that the rendezvous is a file: it unpickles what others write there."""
    options = {
        "nproc-per-node": devices,
        "rdzv-backend": "c10d",
        "rdzv-endpoint": folder / "rendezvous",
        "rdzv-conf": "store_type=file",
        "rdzv-id": "run",
        "local-addr": "localhost",
        "log-dir": folder / "log",
        "max-restarts": 0,  # a run goes on from its last checkpoint, or not at all
        "monitor-interval": 0.1,
    }
    return [f"--{name}={value}" for name, value in options.items()]
