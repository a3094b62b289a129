"""The local service: started, found, kept alive, and gone without a trace however it ends."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import psutil
import pytest

from espo_client import credentials
from espo_client.client import EspoClient
from espo_contracts.job import JobStatus
from tests.espo_client.conftest import Local
from tests.espo_client.local_service import SHORT_JOB, espo, processes_of, serving, wait_running
from tests.espo_client.waiting import wait_until
from tests.processes import lives
from tests.servers import free_port

pytestmark = pytest.mark.slow


def find(home: Path, words: str) -> psutil.Process | None:
    """The process of this home whose command line holds `words` and that is no guard."""
    for process in processes_of(home):
        line = " ".join(process.cmdline())
        if words in line and "guard.py" not in line:
            return process
    return None


def test_a_second_one_on_the_same_folder_says_where_the_first_is(local: Local) -> None:
    second = espo("up", home=local.home)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"already running at {local.base_url}" in errors
    assert stat.S_IMODE((local.home / "credentials.json").stat().st_mode) == 0o600


def test_a_killed_server_is_started_again(local: Local) -> None:
    killed = wait_until(lambda: find(local.home, "uvicorn"), what="the API runs")
    assert killed is not None
    with local.client() as client:
        before = client.catalogue("algorithms")
        killed.kill()
        wait_until(lambda: not lives(killed), what="it is dead")
        # A client that had an answer waits for the service to come back.
        assert client.catalogue("algorithms") == before
    again = find(local.home, "uvicorn")
    assert again is not None
    assert again.pid != killed.pid


def test_a_watcher_sees_every_step_through_a_crash_of_the_api(local: Local) -> None:
    steps = 60
    with local.client() as client:
        job = client.submit(SHORT_JOB | {"schedule": {"steps": steps, "checkpoint_every": 0}})
        seen: list[int | None] = []
        for event in client.events(job.id, types=["metrics"]):
            seen.append(event.step)
            if event.step == 5:
                api = find(local.home, "uvicorn")
                assert api is not None
                api.kill()
        assert [step for step in seen if step] == list(range(1, steps + 1))
        assert client.get(job.id).status == JobStatus.SUCCEEDED


def test_killing_it_leaves_no_process_and_the_next_start_keeps_the_key(tmp_path: Path) -> None:
    up = espo("up", home=tmp_path, changes={"ESPO_API_PORT": str(free_port())})
    try:
        wait_running(tmp_path, up)
        wait_until(lambda: find(tmp_path, "worker.child"), what="the worker has its warm child", seconds=60)
        before, old = credentials.read(tmp_path / credentials.FILE_NAME), processes_of(tmp_path)
    finally:
        up.kill()
        up.communicate()
    # At once: the new one has to wait until the old children are gone.
    port = free_port()
    with serving(tmp_path, ESPO_API_PORT=str(port)) as running:
        after = credentials.read(tmp_path / credentials.FILE_NAME)
        assert before is not None
        assert after is not None
        assert after.api_key == before.api_key
        assert after.base_url == running.base_url == f"http://127.0.0.1:{port}"
        assert len(old) >= 8, "three servers with their guards, the warm child and espo up itself"
        # A warm child that is still importing torch notices the end of its worker a moment later.
        wait_until(lambda: not any(map(lives, old)), what="all old ones are gone")


@pytest.fixture
def taken_port() -> object:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_an_error_that_names_it(tmp_path: Path, taken_port: int) -> None:
    up = espo("up", home=tmp_path, changes={"ESPO_API_PORT": str(taken_port)})
    _, errors = up.communicate(timeout=60)
    assert up.returncode == 1
    assert f"Port {taken_port} on 127.0.0.1 (ESPO_API_PORT) is taken" in errors
    assert not processes_of(tmp_path)


def test_a_server_that_cannot_start_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "espo.db").write_bytes(b"no database" * 1000)
    up = espo("up", home=tmp_path, changes={"ESPO_API_PORT": str(free_port())})
    _, errors = up.communicate(timeout=90)
    assert up.returncode == 1
    assert "api ended with code" in errors
    assert "file is not a database" in errors
    assert not processes_of(tmp_path)


def test_a_key_of_another_database_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / credentials.FILE_NAME
    credentials.save(credentials.Credentials(base_url="http://127.0.0.1:1", api_key="espo_" + "0" * 43), path)
    with serving(tmp_path, ESPO_API_PORT=str(free_port())):
        made = credentials.read(path)
        assert made is not None
        with EspoClient(made.base_url, made.api_key) as client:
            assert not list(client.jobs())
