"""Events reach the database once and in order, whatever Redis does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from espo_contracts.events import Event, Log
from espo_contracts.job import Desired
from espo_contracts.wire import job_key, run_key
from espo_transfer import connect
from tests.servers import RedisServer
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import spec_of
from worker import reporter as module
from worker.reporter import Reporter, read_control
from worker.spool import Spool
from worker.wishes import Wish, Wishes


@pytest.fixture
def wishes() -> Wishes:
    return Wishes()


@pytest.fixture
def reporter(api: ApiSide, client: Redis, wishes: Wishes, tmp_path: Path) -> Iterator[Reporter]:
    api.start_attempt(spec_of("none"))
    reporter = make_reporter(api, client, wishes, tmp_path)
    yield reporter
    reporter.close()


def make_reporter(api: ApiSide, client: Redis, wishes: Wishes, folder: Path) -> Reporter:
    control = read_control(client, api.job)
    assert control is not None
    reporter = Reporter(client, api.job, control, Spool(folder / "spool"), wishes)
    reporter.start()
    return reporter


def events(first: int, last: int) -> list[Event]:
    return [Log(message=f"number {number}") for number in range(first, last + 1)]


def test_arrive_in_order(api: ApiSide, reporter: Reporter) -> None:
    with api.running():
        assert [reporter.report(event) for event in events(1, 500)] == list(range(1, 501))
        assert reporter.drain(10)
    assert api.events == events(1, 500)


def test_whoever_drains_need_not_wait_for_the_next_look(
    api: ApiSide, client: Redis, wishes: Wishes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 60.0)
    api.start_attempt(spec_of("none"))
    reporter = make_reporter(api, client, wishes, tmp_path)
    with api.running():
        reporter.report(Log(message="the last"))
        wait_for(lambda: reporter.drain(0.05))
    reporter.close()


def test_arrive_soon(api: ApiSide, reporter: Reporter) -> None:
    """In the best of some tries: any one may find the machine busy."""
    seconds = []
    for number, event in enumerate(events(1, 5), start=1):
        reporter.report(event)
        length = number + 1
        seconds.append(wait_for(lambda length=length: api.client.xlen(run_key(api.job)) == length))
    assert min(seconds) < 0.2


def test_a_new_stream_gets_all_that_is_not_committed(api: ApiSide, reporter: Reporter) -> None:
    for event in events(1, 10):
        reporter.report(event)
    wait_for(lambda: api.client.xlen(run_key(api.job)) == 11)
    api.ingest()
    for event in events(11, 20):
        reporter.report(event)
    wait_for(lambda: api.client.xlen(run_key(api.job)) == 10)
    api.client.flushall()
    reporter.report(Log(message="number 21"))
    with api.running():
        assert reporter.drain(10)
    assert api.events == events(1, 21)


def test_a_stream_that_is_opened_twice_gets_no_doubles(api: ApiSide, reporter: Reporter) -> None:
    with api.running():
        for event in events(1, 200):
            reporter.report(event)
            if event == Log(message="number 100"):
                wait_for(lambda: api.committed == 100)
        assert reporter.drain(10)
    api.open()
    with api.running():
        reporter.report(Log(message="number 201"))
        assert reporter.drain(10)
    assert api.events == events(1, 201)


def test_what_waits_in_redis_is_bounded(
    api: ApiSide, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES", 20_000)
    sent = [Log(message="x" * 1000 + str(number)) for number in range(100)]
    for event in sent:
        reporter.report(event)
    wait_for(lambda: api.client.xlen(run_key(api.job)) > 15)
    assert not reporter.drain(0.6)
    assert api.client.xlen(run_key(api.job)) <= 21
    with api.running():
        assert reporter.drain(10)
    assert api.events == sent


def test_an_older_attempt_is_fenced(api: ApiSide, reporter: Reporter, wishes: Wishes) -> None:
    api.start_attempt(spec_of("none"))
    reporter.report(Log(message="from the dead"))
    wait_for(lambda: wishes.wish is Wish.FENCE, 2)
    assert reporter.drain(0)
    assert api.client.xlen(run_key(api.job)) == 1


def test_a_cancel_is_seen_within_half_a_second(api: ApiSide, reporter: Reporter, wishes: Wishes) -> None:
    api.client.hset(job_key(api.job), "desired", json.dumps(Desired.CANCEL))
    assert wait_for(wishes.stop.is_set) < 0.5
    assert wishes.wish is Wish.CANCEL
    assert not reporter.drain(0) or reporter.committed == 0


def test_a_finished_run_does_not_wait_for_a_lost_stream_for_ever(
    api: ApiSide, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOST_SECONDS", 0.5)
    reporter.report(Log(message="last"))
    api.client.flushall()
    assert reporter.drain(5)


def test_reporting_never_waits_for_redis(tmp_path: Path, wishes: Wishes) -> None:
    server = RedisServer(tmp_path)
    server.start()
    api = ApiSide(server.url, tmp_path)
    api.start_attempt(spec_of("none"))
    with connect(server.url) as client:
        reporter = make_reporter(api, client, wishes, tmp_path)
        server.kill()
        begin = time.monotonic()
        for event in events(1, 1000):
            reporter.report(event)
        assert time.monotonic() - begin < 2
        server.start()
        with api.running():
            assert reporter.drain(10)
        assert api.events == events(1, 1000)
        reporter.close()
    api.client.close()
    server.kill()
