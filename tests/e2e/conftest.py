"""The running service, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service


@pytest.fixture
def service(home: Path, redis_url: str, database_url: str) -> Iterator[Service]:
    """API and one worker, ready and idle; stopped at the end, with no process left."""
    running = Service(home=home, redis_url=redis_url, database_url=database_url)
    running.prepare()
    try:
        running.start("api")
        running.start("worker")
        running.wait_ready()
        yield running
    finally:
        running.stop()
    assert not running.run_processes()
