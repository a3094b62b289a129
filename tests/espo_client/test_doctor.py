"""`espo doctor` on a service that runs, one that is stopped, and installations that are wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from espo_client import credentials
from espo_client.doctor import machine
from espo_client.doctor.installation import examine_installation
from espo_client.doctor.service import examine_service
from espo_contracts.finding import Finding
from tests.espo_client.conftest import Local
from tests.espo_client.test_cli import call
from tests.servers import free_port
from tests.small_disk import small_disk


def by_check(findings: list[Finding], *levels: str) -> dict[str, str]:
    """What was found at these levels."""
    return {finding.check: finding.message for finding in findings if finding.level in levels}


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without anything of the user's environment."""
    for name in ("ESPO_BASE_URL", "ESPO_API_KEY", "ESPO_REDIS_URL", "ESPO_DATABASE_URL", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.slow
def test_a_service_that_runs_is_well(local: Local) -> None:
    result = call("doctor", "--json", home=local.home)
    findings = [Finding.model_validate(one) for one in json.loads(result.stdout)]
    assert by_check(findings, "fail") == {}
    assert result.exit_code == 0
    well = by_check(findings, "ok")
    assert {"python", "torch", "data folder", "database", "redis", "workers", "store", "models"} <= set(well)
    assert {"api", "api key", "api clock", "api version", "queues", "worker versions"} <= set(well)
    assert "(cpu, " in well["workers"]


def test_nobody_is_there(tmp_path: Path, at: pytest.MonkeyPatch) -> None:
    credentials.save(
        credentials.Credentials(base_url=f"http://127.0.0.1:{free_port()}", api_key="espo_x"),
        tmp_path / credentials.FILE_NAME,
    )
    at.setenv("ESPO_HOME", str(tmp_path))
    (finding,) = examine_service()
    assert (finding.check, finding.level) == ("api", "fail")
    assert "`espo up` starts it" in finding.hint


@pytest.mark.slow
def test_a_wrong_key(local: Local, at: pytest.MonkeyPatch) -> None:
    at.setenv("ESPO_HOME", str(local.home))
    at.setenv("ESPO_API_KEY", "espo_wrong")
    assert by_check(examine_service(), "fail") == {"api key": "the service does not know it"}


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Somebody else's server."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_what_answers_is_something_else(tmp_path: Path, at: pytest.MonkeyPatch) -> None:
    at.setenv("ESPO_HOME", str(tmp_path))
    at.setenv("ESPO_API_KEY", "espo_x")
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    with answering(page) as url:
        at.setenv("ESPO_BASE_URL", url)
        assert "is not this service" in by_check(examine_service(), "fail")["api"]


def test_without_a_start_so_far_it_says_what_will_be(tmp_path: Path, at: pytest.MonkeyPatch) -> None:
    home = tmp_path / "none" / "yet"
    findings = [*machine.examine_folder(home), *examine_installation(home)]
    assert by_check(findings, "fail") == {}
    well = by_check(findings, "ok")
    assert "`espo up` makes it" in well["data folder"]
    assert "`espo up` will start" in well["redis"]
    assert not home.parent.exists(), "it changed something"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    found = machine.examine_folder(tmp_path / "home")
    assert "Not a directory" in by_check(found, "fail")["data folder"]


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2 << 20) as disk:
        assert "GB are free" in by_check(machine.examine_folder(disk.folder), "fail")["disk space"]
        disk.fill()
        assert "No space left" in by_check(machine.examine_folder(disk.folder), "fail")["data folder"]


def test_addresses_where_nobody_is_and_no_secret_shown(tmp_path: Path, at: pytest.MonkeyPatch) -> None:
    port = free_port()
    at.setenv("ESPO_REDIS_URL", f"redis://:secret@127.0.0.1:{port}/0")
    at.setenv("ESPO_DATABASE_URL", f"postgresql://somebody:secret@127.0.0.1:{port}/espo")
    findings = examine_installation(tmp_path)
    assert set(by_check(findings, "fail")) == {"database", "redis"}
    assert all(finding.hint for finding in findings if finding.level != "ok")
    assert "secret" not in str(findings)


def test_settings_that_are_wrong(tmp_path: Path, at: pytest.MonkeyPatch) -> None:
    at.setenv("ESPO_REDIS_URL", "redis://127.0.0.1")
    at.setenv("ESPO_MAX_ATTEMPTS", "many")
    assert "max_attempts" in by_check(examine_installation(tmp_path), "fail")["settings"]


def test_packages_that_are_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["httpx>=999", "no-such-package>=1", "typer>=0.1", 'torch>=999; extra == "other"']
    monkeypatch.setattr(machine, "requires", lambda _: wanted)
    message = by_check([machine.examine_packages()], "fail")["packages"]
    assert "httpx is " in message
    assert "no-such-package is missing" in message
    assert "typer" not in message
    assert "torch" not in message


def test_a_trainer_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "TORCH", "import no_such_module")
    assert "No module named" in by_check([machine.examine_torch()], "fail")["torch"]


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "TORCH", 'print(\'["2.9", "", 0]\')')
    monkeypatch.setenv("ESPO_WORKER_DEVICE", "gpu")
    assert "sees no GPU" in by_check([machine.examine_torch()], "fail")["torch"]


def test_a_hub_that_is_allowed_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPO_ALLOW_HUB", "true")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in by_check([machine.examine_hub()], "warn")["hub"]
