"""The run process as it is, but with little memory left beyond what it holds once it is warm."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from espo_core import warm
from worker import child

LEFT_BYTES = 50 << 20
_DATA = 5  # the field of /proc/self/statm that RLIMIT_DATA bounds


def bound_memory() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[_DATA]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + LEFT_BYTES, held + LEFT_BYTES))


def main() -> int:
    warm_up = warm.warm_up

    def bounded(folder: Path) -> None:
        warm_up(folder)
        bound_memory()

    warm.warm_up = bounded
    return child.main(int(sys.argv[1]))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
