"""Whether a process still runs."""

from __future__ import annotations

import psutil


def lives(process: psutil.Process) -> bool:
    """True until the process has ended. A zombie has: an orphan's is reaped when init gets round to it."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
