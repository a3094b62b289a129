"""Runs a command so that it cannot outlive the process that started this one.

Run as a script with only the standard library: `python -I -S guard.py GRACE_SECONDS COMMAND…`. The starter
holds the other end of stdin. When that closes, however the starter died, or when this process gets SIGTERM,
the command's process group gets SIGTERM, then SIGKILL after the grace time. Exits as the command did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType


def main(arguments: list[str]) -> int:
    grace_seconds, command = float(arguments[0]), arguments[1:]
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The lifeline stays ours alone: the command must not read from it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_watch_lifeline, args=(stop,), daemon=True).start()
    threading.Thread(target=_end_when_told, args=(process.pid, stop, grace_seconds), daemon=True).start()
    code = process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _watch_lifeline(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


def _end_when_told(group: int, stop: threading.Event, grace_seconds: float) -> None:
    stop.wait()
    _signal_group(group, signal.SIGTERM)
    time.sleep(grace_seconds)  # the command's end ends this process, and this thread with it
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    """Signals what is left of the group; the command's own children may outlive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
