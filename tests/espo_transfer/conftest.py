"""A client of the shared Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from espo_transfer import connect


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client
