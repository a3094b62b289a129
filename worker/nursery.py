"""The warm run process of an idle worker: it has imported torch and waits for an order."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.process import CHILD, SCRATCH, RunProcess


class Nursery:
    """Keeps at most one run process ready. Its threads must live as long as the worker: see child.py."""

    def __init__(self, environment: Mapping[str, str], command: Sequence[str] = CHILD) -> None:
        self._environment = environment
        self._command = command
        self._lock = threading.Lock()
        self._ready: RunProcess | None = None
        self._is_closed = False

    def refill(self) -> None:
        """Start the next run process, unless there is one."""
        with self._lock:
            if not self._is_closed and not self._has_living():
                self._ready = RunProcess(self._command, self._environment)

    def take(self) -> RunProcess:
        """A run process for one order: the warm one if it lives, else a new one."""
        with self._lock:
            if self._has_living() and self._ready is not None:
                taken, self._ready = self._ready, None
                return taken
            return RunProcess(self._command, self._environment)

    def close(self) -> None:
        """End the one that waits, and start no more."""
        with self._lock:
            self._is_closed = True
            if self._ready is not None:
                self._ready.close()
                self._ready = None

    def _has_living(self) -> bool:
        if self._ready is not None and self._ready.returncode is not None:
            self._ready.close()
            self._ready = None
        return self._ready is not None


def child_environment(*, allow_hub: bool, scratch: Path) -> dict[str, str]:
    """Our environment for a run process, without our addresses and secrets; where vLLM is it may know.

    `scratch` is for what it writes before it has its order's folder.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ESPO_") or name.startswith("ESPO_VLLM_")
    }
    environment[SCRATCH] = str(scratch)
    environment["TOKENIZERS_PARALLELISM"] = "false"  # it warns and gains nothing once processes fork
    if not allow_hub:
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return environment
