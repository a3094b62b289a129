"""Starts commands that end when this process ends, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from espo_client.home import REPOSITORY

GUARD = Path(__file__).with_name("guard.py")


def start_guarded(
    arguments: list[str],
    *,
    environment: dict[str, str],
    output: IO[bytes],
    grace_seconds: float,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """The guard of the running command: it exits as the command does, and ends it when its stdin closes."""
    guard = [sys.executable, "-I", "-S", str(GUARD), str(grace_seconds)]
    return subprocess.Popen(
        [*guard, *arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        # The application's packages are found from here.
        cwd=REPOSITORY,
        env=environment,
        # Ctrl-C in the terminal is for us alone: we stop what we started in order.
        start_new_session=True,
        pass_fds=keep_open,
    )


def end_guarded(guard: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """Ends the command, killed if it does not end within its grace time."""
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        # The guard needs a moment beyond the grace time to kill and to go.
        guard.wait(timeout=grace_seconds + 5.0)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
