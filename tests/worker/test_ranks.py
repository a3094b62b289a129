"""How a run of several processes ends; torchrun is real, its ranks are small programs."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from espo_contracts.events import Checkpoint, Failed, Finished, Metrics, Started
from espo_contracts.job import Desired
from tests.processes import lives
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import Supervision, spec_of
from tests.worker.real_worker import Worker, hint, job, presences, wait_idle, working
from worker import supervisor
from worker.nursery import Nursery
from worker.supervisor import Site
from worker.wishes import Wish

pytestmark = pytest.mark.slow

PAIR = {"device": "cpu", "devices": 2}


@pytest.fixture
def pair(site: Site) -> Iterator[Site]:
    """A site whose run processes start two ranks."""
    nursery = Nursery(dict(os.environ), [sys.executable, "-m", "tests.worker.ranks_child"])
    yield dataclasses.replace(site, nursery=nursery, keeps_spare=False)
    nursery.close()


def run(site: Site, api: ApiSide, deeds: str) -> None:
    api.start_attempt(spec_of(deeds, resources=PAIR))
    with api.running():
        Supervision(site, api).join()


def ranks_of(site: Site) -> list[psutil.Process]:
    """Both ranks, once they have written themselves down."""
    wait_for(lambda: sum(path.read_text().endswith("\n") for path in site.folder.rglob("pid-*")) == 2)
    return [psutil.Process(int(path.read_text())) for path in sorted(site.folder.rglob("pid-*"))]


def test_the_first_rank_tells_the_run(pair: Site, api: ApiSide) -> None:
    run(pair, api, "0=metrics:2 1=metrics:9")
    assert [type(event) for event in api.events] == [Started, Metrics, Metrics, Finished]


def test_the_rank_that_knows_the_reason_is_believed(pair: Site, api: ApiSide) -> None:
    run(pair, api, "1=last_words:out_of_memory 0=wait_for_words:1 0=last_words:internal")
    failed = api.events[-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.message) == ("out_of_memory", "rank 1 of 2: out_of_memory of 1")


def test_cancel_ends_every_rank(pair: Site, api: ApiSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 1.0)
    api.start_attempt(spec_of("0=pid 1=pid 0=metrics:2 0=hang 1=ignore_term 1=hang", resources=PAIR))
    with api.running():
        attempt = Supervision(pair, api)
        ranks = ranks_of(pair)
        wait_for(lambda: len(api.events) == 3)
        api.wish(Desired.CANCEL)
        attempt.join(15)
    assert api.events[-1] == Finished(outcome="cancelled", step=2)
    assert not any(map(lives, ranks))


def test_every_rank_is_told_to_save(pair: Site, api: ApiSide) -> None:
    api.start_attempt(spec_of("0=metrics:2 0=until_told 1=until_told", resources=PAIR))
    with api.running():
        attempt = Supervision(pair, api)
        wait_for(lambda: len(api.events) == 3)
        attempt.wishes.add(Wish.HAND_BACK)
        attempt.join(15)
    assert api.events[-1] == Finished(outcome="handed_back", step=10)  # as the first rank tells it


def test_a_killed_rank_ends_the_attempt_with_its_name(api: ApiSide, redis_url: str, home: Path) -> None:
    with working(redis_url, home, ESPO_WORKER_DEVICES="2") as worker:
        wait_idle(api, worker)
        assert [presence.devices for presence in presences(api)] == [2]
        api.start_attempt(job(100_000, devices=2, sharding="sharded"))
        hint(api, "cpu.2")
        with api.running():
            wait_for(lambda: any(isinstance(event, Checkpoint) for event in api.events), 120)
            ranks = processes_of(worker, "worker.rank")
            assert len(ranks) == 2
            next(rank for rank in ranks if rank.environ()["RANK"] == "1").kill()
            assert wait_for(lambda: isinstance(api.events[-1], Failed)) < 5
            wait_for(lambda: not any(map(lives, ranks)), 5)
    failed = api.events[-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == ("internal", True)
    assert failed.message == "rank 1 of 2 ended with signal SIGKILL"


def processes_of(worker: Worker, module: str) -> list[psutil.Process]:
    descendants = psutil.Process(worker.process.pid).children(recursive=True)
    return [one for one in descendants if module in one.cmdline()]
