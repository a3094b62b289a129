"""One local service for all tests that only talk to it, and one job that has run there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from espo_client import credentials
from espo_client.client import EspoClient
from espo_client.records import JobDetail
from espo_contracts.job import JobStatus
from tests.espo_client.local_service import SHORT_JOB, serving
from tests.servers import free_port


@dataclass(frozen=True)
class Local:
    """A service that was started by `espo up`."""

    home: Path
    base_url: str
    api_key: str

    def client(self, base_url: str | None = None) -> EspoClient:
        """A client of it, or of something in front of it."""
        return EspoClient(base_url or self.base_url, self.api_key)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    home = tmp_path_factory.mktemp("home")
    with serving(home, ESPO_API_PORT=str(free_port())) as running:
        stored = credentials.read(home / credentials.FILE_NAME)
        assert stored is not None
        assert stored.base_url == running.base_url
        yield Local(home=home, base_url=stored.base_url, api_key=stored.api_key)


@pytest.fixture(scope="session")
def trained(local: Local) -> JobDetail:
    """A job that has succeeded."""
    with local.client() as client:
        job = client.submit(SHORT_JOB)
        assert list(client.events(job.id))
        job = client.get(job.id)
    assert job.status == JobStatus.SUCCEEDED, job.error
    return job
