"""A process whose clock steps while it runs, and nothing but its wall clock."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.clocks import HOUR_SECONDS, Clocks, unstepped

PROGRAM = """
import sys, time
from time import time as early
for _ in sys.stdin:
    print(time.time(), early(), time.time_ns() / 1e9, time.monotonic(), flush=True)
"""


def test_the_clock_of_a_running_process_steps(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path / "clocks")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=clocks.environment_of("api"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for step in (0.0, HOUR_SECONDS, -HOUR_SECONDS, 0.0):
            clocks.step("api", step)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            *wrong, steady = map(float, process.stdout.readline().split())
            assert wrong == pytest.approx([time.time() + step] * 3, abs=30)
            assert steady == pytest.approx(time.monotonic(), abs=30)
        process.stdin.close()


def test_a_time_by_a_wrong_clock_is_set_right() -> None:
    for step in (-HOUR_SECONDS, 0.0, HOUR_SECONDS):
        assert unstepped(1000.0 + step, near=1100.0) == 1000.0
