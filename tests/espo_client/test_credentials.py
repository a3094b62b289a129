from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from espo_client import credentials
from espo_client.credentials import Credentials
from espo_client.errors import CredentialsError

STORED = Credentials(base_url="http://127.0.0.1:8000", api_key="espo_stored")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ESPO_BASE_URL", "ESPO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_saved_credentials_are_read_again_and_are_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / credentials.FILE_NAME
    before = os.umask(0)
    try:
        credentials.save(STORED, path)
    finally:
        os.umask(before)
    assert credentials.load(tmp_path) == STORED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [credentials.FILE_NAME]


def test_a_readable_file_becomes_private_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / credentials.FILE_NAME
    path.write_text("{}")
    path.chmod(0o644)
    credentials.save(STORED, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.save(STORED, tmp_path / credentials.FILE_NAME)
    monkeypatch.setenv("ESPO_API_KEY", "espo_given")
    found = credentials.load(tmp_path)
    assert (found.base_url, found.api_key) == (STORED.base_url, "espo_given")


def test_without_credentials_the_error_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"ESPO_API_KEY.*espo up"):
        credentials.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"base_url": "http://x"}', '"text"'])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / credentials.FILE_NAME
    path.write_text(content)
    with pytest.raises(CredentialsError, match=str(path)):
        credentials.load(tmp_path)


def test_a_key_is_never_shown() -> None:
    assert "espo_stored" not in repr(STORED)
