"""Nothing that was started through a guard outlives its starter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from espo_client.services.guarded import end_guarded, start_guarded
from tests.espo_client.waiting import wait_until
from tests.processes import lives

# Starts a child of its own in the same group, says both ids, and refuses to end politely if told so.
COMMAND = """
import os, signal, subprocess, sys, time
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, "
                          "signal.SIG_IGN); time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
STARTER = f"""
import os, sys, time
from espo_client.services.guarded import start_guarded
log = open(sys.argv[2], "wb")
guard = start_guarded([sys.executable, "-c", {COMMAND!r}, sys.argv[1]], environment=dict(os.environ),
                      output=log, grace_seconds=0.5)
time.sleep(600)
"""


def processes(log: Path) -> list[psutil.Process]:
    """The command and its child, once both run."""
    words = wait_until(
        lambda: log.read_text().split() if log.exists() else [], what="the command says its ids"
    )
    return [psutil.Process(int(word)) for word in words]


@pytest.mark.slow
@pytest.mark.parametrize("manner", ["polite", "stubborn"])
def test_killing_the_starter_ends_the_command_and_its_children(tmp_path: Path, manner: str) -> None:
    log = tmp_path / "log"
    starter = subprocess.Popen([sys.executable, "-c", STARTER, manner, str(log)])
    running = processes(log)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until(lambda: not any(map(lives, running)), what="both are gone")


def test_the_guard_exits_as_the_command_does(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        for code in ("import sys; sys.exit(7)", "import os; os.kill(os.getpid(), 9)"):
            guard = start_guarded(
                [sys.executable, "-c", code], environment=dict(os.environ), output=log, grace_seconds=1.0
            )
            with guard:
                expected = 7 if "exit" in code else 128 + signal.SIGKILL
                assert guard.wait(timeout=10) == expected


def test_ending_a_stubborn_command_kills_it_after_its_grace_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        command = [sys.executable, "-c", COMMAND, "stubborn"]
        guard = start_guarded(command, environment=dict(os.environ), output=log, grace_seconds=0.3)
    running = processes(path)
    end_guarded(guard, grace_seconds=0.3)
    wait_until(lambda: not any(map(lives, running)), what="both are gone")
