"""The disk of database and store is full: a client is told to come back, and finds everything whole."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api.marks import on_sqlite
from tests.api.rows import job_document
from tests.small_disk import Disk

DATA = b'{"prompt": "1+1", "answer": "2"}\n' * 3000


@pytest.fixture
def home(disk: Disk) -> Path:
    """The data folder, on a disk that can be filled."""
    return disk.folder


async def upload(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a", DATA)})


def is_told_to_come_back(answer: httpx.Response) -> bool:
    is_problem = answer.headers["content-type"] == "application/problem+json"
    return is_problem and answer.status_code == 503 and "retry-after" in answer.headers


async def test_an_upload_finds_no_room(client: httpx.AsyncClient, disk: Disk) -> None:
    disk.fill()
    assert is_told_to_come_back(await upload(client))
    assert list((disk.folder / "tmp").glob("*")) == []
    disk.free()
    assert (await upload(client)).status_code == 200
    assert len((await client.get("/v1/files")).json()["data"]) == 1


@on_sqlite
async def test_a_job_is_not_taken_by_half(client: httpx.AsyncClient, disk: Disk) -> None:
    assert (await client.post("/v1/jobs", json=job_document())).status_code == 201
    disk.fill()
    answers = [await client.post("/v1/jobs", json=job_document()) for _ in range(3)]
    assert all(map(is_told_to_come_back, answers)), [answer.text for answer in answers]
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1
    disk.free()
    assert (await client.post("/v1/jobs", json=job_document())).status_code == 201
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2
