"""Each kind of weather does what it says, and heals."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis
from redis import Redis

from espo_transfer import connect
from tests.chaos.proxy import Proxy
from tests.espo_transfer.places import wait_for


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    """Through the proxy, patient."""
    with Redis.from_url(proxy.url, socket_timeout=30, socket_connect_timeout=30, retry=None) as client:
        client.set("here", "yes")
        yield client


@pytest.fixture
def direct(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


def test_bytes_pass_unchanged_also_one_by_one(proxy: Proxy, client: Redis, direct: Redis) -> None:
    content = bytes(range(256)) * 5000
    client.set("a", content)
    proxy.split()
    client.set("b", content[::-1])
    assert direct.get("a") == content
    assert client.get("b") == content[::-1]


def test_a_cut_refuses_old_and_new_connections_until_it_heals(proxy: Proxy, client: Redis) -> None:
    proxy.cut()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.ping()
    assert proxy.connections == 0
    proxy.heal()
    assert client.get("here") == b"yes"


def test_a_black_hole_is_silent_and_delivers_late(proxy: Proxy, client: Redis, direct: Redis) -> None:
    with Redis.from_url(proxy.url, socket_timeout=2, retry=None) as impatient:
        impatient.ping()
        proxy.black_hole()
        for _ in range(2):  # on the open connection, then on a new one
            with pytest.raises(redis.TimeoutError):
                impatient.incr("late")
    assert direct.get("late") is None
    proxy.heal()
    wait_for(lambda: direct.get("late") is not None)  # the client has long given up
    assert client.get("here") == b"yes"


def test_a_delay_delays(proxy: Proxy, client: Redis) -> None:
    proxy.delay(0.1)
    begin = time.monotonic()
    assert client.get("here") == b"yes"
    assert time.monotonic() - begin > 0.18
    proxy.heal()


@pytest.fixture
def bare(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection through the proxy that knows nothing of Redis's client, which reconnects unasked."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as bare:
        bare.sendall(b"PING\r\n")
        assert bare.recv(100) == b"+PONG\r\n"
        yield bare


def test_after_a_half_close_commands_arrive_without_an_answer(
    proxy: Proxy, bare: socket.socket, client: Redis, direct: Redis
) -> None:
    proxy.half_close()
    bare.sendall(b"INCR heard\r\n")
    assert bare.recv(100) == b""
    wait_for(lambda: direct.get("heard") == b"1")
    assert client.get("here") == b"yes"  # a new connection is whole


def test_a_reset_ends_what_is_open_and_lets_new_ones_in(
    proxy: Proxy, bare: socket.socket, client: Redis
) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        bare.recv(100)
    assert client.get("here") == b"yes"


def test_a_server_that_is_away_is_no_defect_of_the_proxy() -> None:
    proxy = Proxy("redis://127.0.0.1:1/0")
    with Redis.from_url(proxy.url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.close()
