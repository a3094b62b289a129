"""The running service, on both databases: one of each for all tests, whose start costs much."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from espo_contracts.job import JobStatus
from tests.e2e.service import Service, job_document, wait_until
from tests.processes import lives
from tests.servers import RedisServer, new_database


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """API and one worker, ready and idle; stopped at the end, with no process left."""
    home = tmp_path_factory.mktemp("home")
    with contextlib.ExitStack() as ending:
        database = f"sqlite+aiosqlite:///{home / 'espo.db'}"
        if request.param == "postgresql":
            database = ending.enter_context(new_database(request.getfixturevalue("postgres_url")))
        redis = RedisServer(tmp_path_factory.mktemp("redis"))
        redis.start()
        ending.callback(redis.kill)
        running = Service(home=home, redis_url=redis.url, database_url=database)
        running.prepare()
        ending.callback(running.stop)
        running.start("api")
        running.start("worker")
        running.wait_ready()
        yield running
        runs = running.run_processes()
    wait_until(lambda: not any(map(lives, runs)), seconds=5, what="no run process is left")


@pytest.fixture(scope="package")
def undisturbed(service: Service) -> str:
    """Id of the main job, which ran to its end without an incident."""
    job = service.submit(job_document())
    done = service.wait_finished(job)
    assert done.status is JobStatus.SUCCEEDED, done.error
    return job
