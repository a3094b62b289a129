"""What runs under the guard reaches nothing outside its process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

GUARDED = "from espo_core.sandboxed import guard; guard.install()\nwith guard.guarded():\n    {code}"


def run(code: str, *, guarded: bool) -> int:
    """Exit status of a process that runs the code."""
    program = GUARDED.format(code=code) if guarded else code
    return subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.DEVNULL).returncode


def answers(folder: Path) -> dict[str, str]:
    """Programs that would leave a trace in a folder."""
    trace = str(folder / "trace")
    return {
        "file": f"[open({trace!r}, 'w').write('x')]",
        "folder": f"[__import__('os').mkdir({trace!r})]",
        "shell": f"[__import__('os').system('touch {trace}')]",
        "process": f"[__import__('subprocess').run(['touch', {trace!r}])]",
        "link": f"[__import__('os').symlink('/', {trace!r})]",
    }


@pytest.mark.parametrize("kind", ["file", "folder", "shell", "process", "link"])
def test_nothing_is_written_or_started(tmp_path: Path, kind: str) -> None:
    code = answers(tmp_path)[kind]
    assert run(code, guarded=True) != 0
    assert not list(tmp_path.iterdir())
    # The same text does leave a trace where nothing guards it, so that the test can fail.
    assert run(code, guarded=False) == 0
    assert list(tmp_path.iterdir())


def test_no_connection_is_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        code = f"__import__('socket').create_connection(('127.0.0.1', {port}))"
        assert run(code, guarded=True) != 0
        with pytest.raises(TimeoutError):
            server.accept()
        assert run(code, guarded=False) == 0
        server.accept()[0].close()


def test_the_caller_is_not_killed() -> None:
    assert run(f"__import__('os').kill({os.getpid()}, 9)", guarded=True) != 0
