"""The worker as it is run: Celery's process, its run process, the trainer, a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from espo_contracts.events import Checkpoint, Failed, Finished, Metrics, Started
from espo_contracts.job import Desired
from espo_contracts.wire import StoredFiles, queue_name
from espo_core.trainer import RunInputs, Trainer
from espo_transfer.digest import sha256_of
from tests.processes import lives
from tests.servers import RedisServer
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.real_worker import Worker, final_weights, hint, job, presences, wait_idle, working

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(redis_url: str, home: Path) -> Iterator[Worker]:
    with working(redis_url, home) as worker:
        yield worker


def steps_of(api: ApiSide) -> list[int]:
    return [one.event.step for one in api.database if isinstance(one.event, Metrics)]


def is_over(api: ApiSide) -> bool:
    return bool(api.events) and isinstance(api.events[-1], Finished | Failed)


def test_a_job_gives_the_weights_of_the_trainer_alone(api: ApiSide, worker: Worker, tmp_path: Path) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(6))
    hint(api)
    hint(api)  # the second delivery of a hint changes nothing
    with api.running():
        wait_for(lambda: is_over(api), 60)
        wait_for(lambda: [one.state for one in presences(api)] == ["idle"])
    assert [event for event in api.events if isinstance(event, Started | Finished)] == [
        api.events[0],
        Finished(step=6),
    ]
    assert steps_of(api) == [1, 2, 3, 4, 5, 6]
    inputs = RunInputs(spec=job(6), work_dir=tmp_path / "alone", model=worker.home / "models" / "tiny-base")
    Trainer(inputs, lambda _: None).run()
    assert sha256_of(tmp_path / "alone" / "checkpoint-6" / "model.safetensors") == final_weights(api)
    assert worker.stop() == 0
    assert api.client.keys("espo:worker:*") == []


def test_cancel_in_a_rollout(api: ApiSide, worker: Worker) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(100_000))
    hint(api)
    with api.running():
        wait_for(lambda: len(steps_of(api)) > 3, 60)
        api.wish(Desired.CANCEL)
        seconds = wait_for(lambda: is_over(api))
    assert seconds < 2
    assert isinstance(api.events[-1], Finished)
    assert api.events[-1].outcome == "cancelled"


def test_a_busy_worker_leaves_hints_to_others(api: ApiSide, worker: Worker) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(100_000))
    hint(api)
    with api.running():
        wait_for(lambda: len(steps_of(api)) > 1, 60)
        hint(api)
        assert [one.state for one in presences(api)] == ["busy"]
        api.wish(Desired.CANCEL)
        assert api.client.llen(queue_name("cpu")) == 1
        assert api.client.hlen("unacked") == 0
        wait_for(lambda: is_over(api))


def test_stopping_hands_the_run_back(api: ApiSide, worker: Worker) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(100_000))
    hint(api)
    with api.running():
        wait_for(lambda: len(steps_of(api)) > 3, 60)
        children = worker.run_processes
        assert worker.stop() == 0
    assert isinstance(api.events[-1], Finished)
    assert api.events[-1].outcome == "handed_back"
    saved = [event.step for event in api.events if isinstance(event, Checkpoint)]
    assert max(saved) == api.events[-1].step == steps_of(api)[-1], "what was done is saved"
    assert not any(map(lives, children))
    assert api.client.keys("espo:worker:*") == []
    assert list((worker.home / "worker").glob("*/job-*")) == []


def test_killed_worker_takes_its_run_with_it(api: ApiSide, worker: Worker, redis_url: str) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(100_000))
    hint(api)
    with api.running():
        wait_for(lambda: len(steps_of(api)) > 3, 60)
        children = worker.run_processes
        assert children
        worker.kill()
        wait_for(lambda: not any(map(lives, children)), 2)
    assert list((worker.home / "worker").glob("*/job-*"))
    with working(redis_url, worker.home) as successor:
        wait_for(lambda: not list((worker.home / "worker").glob("*/job-*")), 60)
        assert successor.process.poll() is None


def test_killed_run_goes_on_from_its_checkpoint(api: ApiSide, worker: Worker, tmp_path: Path) -> None:
    wait_idle(api, worker)
    api.start_attempt(job(60))
    hint(api)
    with api.running():
        wait_for(lambda: any(isinstance(event, Checkpoint) for event in api.events), 60)
        oldest_first = sorted(worker.run_processes, key=lambda process: process.create_time())
        oldest_first[0].kill()  # the other is the spare one
        assert wait_for(lambda: is_over(api)) < 1
        newest = [event for event in api.events if isinstance(event, Checkpoint)][-1]
        api.start_attempt(job(60), StoredFiles(files=newest.files, step=newest.step))
        hint(api)
        wait_for(lambda: is_over(api), 60)
    assert api.events[-1] == Finished(step=60)
    assert isinstance(api.events[0], Started)
    assert api.events[0].resumed_from == newest.step
    inputs = RunInputs(spec=job(60), work_dir=tmp_path / "alone", model=worker.home / "models" / "tiny-base")
    Trainer(inputs, lambda _: None).run()
    assert sha256_of(tmp_path / "alone" / "checkpoint-60" / "model.safetensors") == final_weights(api)


def test_a_redis_that_loses_everything_costs_nothing(tmp_path: Path, home: Path) -> None:
    server = RedisServer(tmp_path)
    api = ApiSide(server.url, tmp_path / "api")
    api.store.mkdir(parents=True)
    with working(server.url, home) as worker:  # before there is a Redis
        server.start()
        wait_idle(api, worker)
        api.start_attempt(job(300))
        hint(api)
        with api.running():
            for count in (20, 60):
                wait_for(lambda least=count: len(steps_of(api)) > least, 60)  # type: ignore[misc]
                server.kill()
                server.start()
            wait_for(lambda: is_over(api), 120)
        assert api.events[-1] == Finished(step=300)
        assert steps_of(api) == list(range(1, 301))
        assert [one.seq for one in api.database] == list(range(1, len(api.database) + 1))
        api.start_attempt(job(2))
        hint(api)  # the broker was away, too
        with api.running():
            wait_for(lambda: is_over(api), 60)
    api.client.close()
    server.kill()


def test_stopping_before_there_is_a_redis(home: Path, tmp_path: Path) -> None:
    with working(RedisServer(tmp_path).url, home) as worker:
        wait_for(lambda: "Cannot connect" in worker.log.read_text(), 60)
        worker.stop()
        assert "Traceback" not in worker.log.read_text()
