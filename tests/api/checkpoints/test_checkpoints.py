from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import httpx
import pytest

from api.auth.keys import Scope
from api.checkpoints import repository
from api.jobs.models import Job
from api.loops.retention import prune
from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_checkpoint, submit

WEIGHTS = bytes(range(256)) * 20
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "empty.txt": b"", f"{'n' * 110}.bin": b"long"}


@pytest.fixture
async def job_id(client: httpx.AsyncClient, service: Service, tmp_path: Path) -> str:
    """A job with three checkpoints, the second the best."""
    made = await submit(client)
    context = service.resources.context
    for step, accuracy in ((10, 0.25), (20, 0.75), (30, 0.5)):
        await add_checkpoint(
            context.database, context.store, tmp_path, made, step, FILES, held_out__greedy=accuracy
        )
    return made


def file_path(job_id: str, step: str = "20", name: str = "model.safetensors") -> str:
    return f"/v1/jobs/{job_id}/checkpoints/{step}/files/{name}"


async def test_list_and_one(client: httpx.AsyncClient, job_id: str) -> None:
    path = f"/v1/jobs/{job_id}/checkpoints"
    page = (await client.get(path, params={"limit": 2})).json()
    assert ([row["step"] for row in page["data"]], page["has_more"]) == ([30, 20], True)
    rest = (await client.get(path, params={"after": page["last_id"]})).json()
    assert ([row["step"] for row in rest["data"]], rest["has_more"]) == ([10], False)
    for step, number in (("10", 10), ("latest", 30), ("best", 20)):
        one = (await client.get(f"{path}/{step}")).json()
        assert (one["step"], one["bytes"]) == (number, sum(map(len, FILES.values())))
    assert {file["name"]: file["sha256"] for file in one["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()
    }


async def test_a_pinned_checkpoint(client: httpx.AsyncClient, service: Service, job_id: str) -> None:
    path = f"/v1/jobs/{job_id}/checkpoints"
    await set_keep(service, job_id, 1)
    for _ in range(2):
        answer = await client.post(f"{path}/10/pin")
        assert (answer.status_code, answer.json()["step"], answer.json()["is_pinned"]) == (200, 10, True)
    assert await kept(service, job_id) == [10, 20, 30]
    # The second is the best, the third the newest: neither goes, pinned or not.
    for step in ("best", "latest"):
        assert (await client.delete(f"{path}/{step}/pin")).json()["is_pinned"] is False
    assert [row["step"] for row in (await client.get(path)).json()["data"]] == [30, 20, 10]
    assert (await client.delete(f"{path}/10/pin")).status_code == 200
    assert [row["step"] for row in (await client.get(path)).json()["data"]] == [30, 20]
    assert (await client.post(f"{path}/10/pin")).status_code == 404


@on_sqlite
async def test_a_reader_may_not_pin(service: Service, job_id: str) -> None:
    async with service.client(await service.key("ours", [Scope.READ])) as reader:
        assert (await reader.post(f"/v1/jobs/{job_id}/checkpoints/10/pin")).status_code == 403


async def set_keep(service: Service, job_id: str, keep: int) -> None:
    async with service.resources.context.database.write() as session:
        job = await session.get_one(Job, job_id)
        job.resolved = job.resolved | {"schedule": job.resolved["schedule"] | {"keep": keep}}


async def kept(service: Service, job_id: str) -> list[int]:
    """Steps that are left after the rule was applied."""
    async with service.resources.context.database.write() as session:
        await prune(session, await session.get_one(Job, job_id))
    async with service.resources.context.database.read() as session:
        return [row.step for row in await repository.of_job(session, job_id)]


@on_sqlite
@pytest.mark.parametrize(("step", "status"), [("11", 404), ("newest", 400), ("-1", 400), ("1" * 30, 400)])
async def test_a_step_that_is_not_there(
    client: httpx.AsyncClient, job_id: str, step: str, status: int
) -> None:
    assert (await client.get(f"/v1/jobs/{job_id}/checkpoints/{step}")).status_code == status


async def test_without_checkpoints_there_is_no_latest(client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    for step in ("latest", "best"):
        assert (await client.get(f"/v1/jobs/{job_id}/checkpoints/{step}")).status_code == 404


async def test_a_file_whole(client: httpx.AsyncClient, job_id: str) -> None:
    response = await client.get(file_path(job_id))
    digest = hashlib.sha256(WEIGHTS)
    assert (response.status_code, response.content) == (200, WEIGHTS)
    assert response.headers["etag"] == f'"{digest.hexdigest()}"'
    assert response.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert response.headers["accept-ranges"] == "bytes"
    head = await client.head(file_path(job_id))
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(WEIGHTS)))
    assert (await client.get(file_path(job_id, name="empty.txt"))).content == b""
    assert (await client.get(file_path(job_id, name="no.bin"))).status_code == 404
    assert (await client.get(file_path(job_id, name="..%2F..%2Fespo.db"))).status_code == 404


@on_sqlite
@pytest.mark.parametrize(
    ("asked", "start", "end"), [("bytes=0-9", 0, 10), ("bytes=5100-", 5100, 5120), ("bytes=-7", 5113, 5120)]
)
async def test_a_range(client: httpx.AsyncClient, job_id: str, asked: str, start: int, end: int) -> None:
    response = await client.get(file_path(job_id), headers={"range": asked})
    assert (response.status_code, response.content) == (206, WEIGHTS[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/5120"
    etag = response.headers["etag"]
    same = await client.get(file_path(job_id), headers={"range": asked, "if-range": etag})
    assert same.status_code == 206
    other = await client.get(file_path(job_id), headers={"range": asked, "if-range": '"other"'})
    assert (other.status_code, other.content) == (200, WEIGHTS)


async def test_several_ranges(client: httpx.AsyncClient, job_id: str) -> None:
    response = await client.get(file_path(job_id), headers={"range": "bytes=0-1,5118-5119"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges")


@on_sqlite
@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=", "bytes=a-b", "lines=1-2", "bytes=1", "x"])
async def test_a_malformed_range_is_ignored(client: httpx.AsyncClient, job_id: str, asked: str) -> None:
    response = await client.get(file_path(job_id), headers={"range": asked})
    assert (response.status_code, response.content) == (200, WEIGHTS)


async def test_a_range_outside_is_a_problem(client: httpx.AsyncClient, job_id: str) -> None:
    for name, size in (("model.safetensors", 5120), ("empty.txt", 0)):
        response = await client.get(file_path(job_id, name=name), headers={"range": f"bytes={size}-"})
        assert (response.status_code, response.json()["error"]["code"]) == (416, "range_not_satisfiable")
        assert response.headers["content-range"] == f"bytes */{size}"


async def test_what_the_client_has_is_not_sent(client: httpx.AsyncClient, job_id: str) -> None:
    etag = (await client.get(file_path(job_id))).headers["etag"]
    for known in (etag, f'"x", W/{etag}', "*"):
        response = await client.get(file_path(job_id), headers={"if-none-match": known})
        assert (response.status_code, response.content) == (304, b"")
    assert (await client.get(file_path(job_id), headers={"if-none-match": '"x"'})).status_code == 200


async def test_missing_bytes_are_no_half_answer(
    client: httpx.AsyncClient, service: Service, job_id: str
) -> None:
    service.resources.context.store.delete(hashlib.sha256(WEIGHTS).hexdigest())
    response = await client.get(file_path(job_id))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")


async def test_the_archive_is_the_folder(client: httpx.AsyncClient, job_id: str) -> None:
    response = await client.get(f"/v1/jobs/{job_id}/checkpoints/latest/archive")
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(response.content)) as tar:
        members = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        contents = {name: file.read() for name, file in members.items() if file}
    assert contents == {f"checkpoint-30/{name}": content for name, content in FILES.items()}
    again = await client.get(
        f"/v1/jobs/{job_id}/checkpoints/30/archive", headers={"if-none-match": response.headers["etag"]}
    )
    assert again.status_code == 304
