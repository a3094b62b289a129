from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espo_client.errors import ServiceError
from espo_client.services import lock
from espo_client.services.lock import Running

HOLDER = """
import os, sys, time
from pathlib import Path
from espo_client.services import lock
with lock.hold(Path(sys.argv[1])) as descriptor:
    lock.announce(descriptor, lock.Running(pid=os.getpid(), base_url="http://127.0.0.1:8123"))
    # A child that holds the lock on after its parent's death, as a guard that is stopping a server does.
    import subprocess
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=int(sys.argv[2]),
                     pass_fds=(descriptor,))
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_service_on_one_folder_is_told_where_the_first_is(tmp_path: Path) -> None:
    with lock.hold(tmp_path) as descriptor:
        lock.announce(descriptor, Running(pid=os.getpid(), base_url="http://127.0.0.1:8123"))
        assert lock.find_running(tmp_path) == Running(pid=os.getpid(), base_url="http://127.0.0.1:8123")
        with (
            pytest.raises(ServiceError, match=r"already running at http://127.0.0.1:8123"),
            lock.hold(tmp_path),
        ):
            pytest.fail("held twice")
    assert lock.find_running(tmp_path) is None
    with lock.hold(tmp_path):
        pass


def test_no_folder_no_service(tmp_path: Path) -> None:
    assert lock.find_running(tmp_path / "none") is None


def test_a_killed_service_whose_children_still_end_is_no_service_and_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), str(reading)],
        stdout=subprocess.PIPE,
        pass_fds=(reading,),
    )
    os.close(reading)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock.find_running(tmp_path) is not None
        holder.kill()
    assert lock.find_running(tmp_path) is None

    def is_alive_and_let_the_child_go(_pid: int) -> bool:
        if writing in open_ends:
            open_ends.remove(writing)
            os.close(writing)
        return False

    open_ends = [writing]
    monkeypatch.setattr(lock, "_is_alive", is_alive_and_let_the_child_go)
    with lock.hold(tmp_path):
        assert not open_ends, "the lock was held by the child until it ended"
