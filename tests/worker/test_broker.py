"""Only hints reach the worker; the rest is thrown away and harms nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

import pytest
from celery import Celery

from espo_contracts.events import Finished
from espo_contracts.wire import Hint, queue_name
from tests.chaos.faults.hints import GARBAGE, message, push
from tests.servers import RedisServer
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.real_worker import hint, job, wait_idle, working
from worker.broker import install


def test_the_broker_is_found_within_two_seconds_of_its_return(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with Celery("test", broker=server.url, set_as_current=False) as app:
        install(app)
        returning = threading.Timer(
            2.5, server.start
        )  # just after the second try, which kombu repeats 4 s later
        returning.start()
        with app.connection_for_read() as connection:
            begin = time.monotonic()
            connection.ensure_connection()
            assert time.monotonic() - begin < 4.5
        returning.join()
    server.kill()


@pytest.mark.slow
def test_no_garbage_ends_a_worker(api: ApiSide, redis_url: str, home: Path) -> None:
    with working(redis_url, home) as worker:
        wait_idle(api, worker)
        rng = Random(5)
        push(api.client, [make(rng) for make in GARBAGE.values()])
        api.start_attempt(job(2))
        push(api.client, [message(Hint(job=api.job, attempt=1).model_dump())] * 3)
        hint(api)
        with api.running():
            wait_for(lambda: api.events and api.events[-1] == Finished(step=2), 60)
            wait_for(lambda: api.client.llen(queue_name("cpu")) == 0)
        assert worker.process.poll() is None
        assert [event for event in api.events if isinstance(event, Finished)] == [Finished(step=2)]
        assert api.client.hlen("unacked") == 0
        # A worker of this kind said "Unrecoverable error" to the first of them, and was gone.
        assert worker.log.read_text().count("is thrown away") == len(GARBAGE), worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()
