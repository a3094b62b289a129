"""A supervisor on a real Redis, with a small program in the place of the trainer."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from espo_contracts.job import JobSpec
from espo_transfer import connect
from tests.worker.api_side import SPEC, ApiSide
from worker.cache import Cache
from worker.nursery import Nursery
from worker.prepare import Sources
from worker.supervisor import Site, Supervisor
from worker.wishes import Wishes

PROGRAM = Path(__file__).with_name("run_program.py")


def spec_of(deeds: str, **changes: object) -> JobSpec:
    """A job that makes the run program do these deeds."""
    return JobSpec.model_validate(SPEC | {"name": deeds} | changes)


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[ApiSide]:
    side = ApiSide(redis_url, tmp_path / "api")
    side.store.mkdir(parents=True)
    yield side
    side.client.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def site(client: Redis, tmp_path: Path) -> Iterator[Site]:
    model = tmp_path / "models" / "tiny-base"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    sources = Sources(
        client=client,
        cache=Cache(tmp_path / "cache", 1 << 30),
        model_path=str(tmp_path / "models"),
        allow_hub=False,
    )
    nursery = Nursery(dict(os.environ), [sys.executable, str(PROGRAM)])
    yield Site(
        worker="test-1",
        device="cpu",
        folder=tmp_path / "worker",
        client=client,
        sources=sources,
        nursery=nursery,
        keeps_spare=True,
        stop_seconds=20.0,
        shutting_down=threading.Event(),
    )
    nursery.close()


class Supervision:
    """A supervisor at work in a thread."""

    def __init__(self, site: Site, api: ApiSide) -> None:
        self.wishes = Wishes()
        self._supervisor = Supervisor(site, api.job, api.assignment, self.wishes)
        self._thread = threading.Thread(target=self._supervisor.run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def join(self, seconds: float = 30.0) -> None:
        self._thread.join(seconds)
        assert self.is_over
