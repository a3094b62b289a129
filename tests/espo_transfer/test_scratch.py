"""A folder of a living process stays, whatever the clock says; one of a dead process goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from espo_transfer.scratch import clear_abandoned, scratch

DYING = """
import os, signal, sys
from pathlib import Path
from espo_transfer.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "half").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_there_in_the_block_and_gone_after_it(tmp_path: Path) -> None:
    with scratch(tmp_path / "new") as one, scratch(tmp_path / "new") as two:
        assert one != two
        (one / "file").write_text("x")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_living_process_works_in_is_never_cleared(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        os.utime(folder, (0, 0))
        clear_abandoned(tmp_path)
        assert folder.is_dir()


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    clear_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_half_a_pair_is_cleared_as_well(tmp_path: Path) -> None:
    (tmp_path / ".a.lock").touch()
    (tmp_path / ".b.part").mkdir()
    clear_abandoned(tmp_path)
    clear_abandoned(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_clearing_while_folders_come_and_go_takes_none_that_lives(tmp_path: Path) -> None:
    stop = threading.Event()

    def clear() -> None:
        while not stop.is_set():
            clear_abandoned(tmp_path)

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        for _ in range(300):
            with scratch(tmp_path) as folder:
                (folder / "file").write_text("x")
    finally:
        stop.set()
        clearing.join()
    assert list(tmp_path.iterdir()) == []
