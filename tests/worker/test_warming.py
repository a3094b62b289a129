"""A run process that is killed while it warms up, as in seed 1 of the chaos campaign."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.worker.api_side import wait_for
from worker.process import SCRATCH

_CHILD = """
import os, sys, types
def warm_up(folder):
    (folder / "model.safetensors").write_bytes(b"half")
    {deed}
# The real one takes seconds and does nothing else to the folder.
sys.modules["espo_core.warm"] = types.SimpleNamespace(warm_up=warm_up)
sys.modules["worker.training"] = types.SimpleNamespace(train=None)
os.setsid()
from worker import child
child.main(int(sys.argv[1]))
"""


@contextlib.contextmanager
def _started(deed: str, parent: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run process that waits for its order inside the block, if it comes so far."""
    with (
        Path(os.devnull).open("wb") as events,
        subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(deed=deed), str(events.fileno())],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {SCRATCH: str(parent)},
            pass_fds=[events.fileno()],
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_one_left_goes_with_the_next(tmp_path: Path) -> None:
    with _started("os.kill(os.getpid(), 9)", tmp_path) as killed:
        assert killed.wait(30) == -signal.SIGKILL
    assert list(tmp_path.glob(".*.part"))
    with _started("pass", tmp_path):
        wait_for(lambda: not list(tmp_path.iterdir()))


def test_a_full_disk_is_no_reason_not_to_train(tmp_path: Path) -> None:
    with _started('raise OSError(28, "No space left on device")', tmp_path) as process:
        assert process.stderr is not None
        assert b"not warmed up" in process.stderr.readline()
        assert process.poll() is None, "it waits for its order"
        assert not list(tmp_path.iterdir())
