from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Service
from tests.api.marks import on_sqlite

DATA = b'{"prompt": "1+1", "answer": "2"}\n{"prompt": "2+2", "answer": "4"}\n'


async def upload(client: httpx.AsyncClient, content: bytes, name: str = "data.jsonl") -> httpx.Response:
    return await client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, content)})


def leftovers(service: Service) -> list[Path]:
    return list((service.resources.settings.home / "tmp").iterdir())


async def test_an_upload_is_kept(client: httpx.AsyncClient, service: Service) -> None:
    made = (await upload(client, DATA)).json()
    assert made["id"].startswith("file-")
    assert made | {"id": "", "created_at": 0} == {
        "id": "",
        "object": "file",
        "bytes": len(DATA),
        "created_at": 0,
        "filename": "data.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
        "expires_at": None,
        "rows": 2,
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    assert (await client.get(f"/v1/files/{made['id']}")).json() == made
    content = await client.get(f"/v1/files/{made['id']}/content")
    assert (content.content, content.headers["x-content-type-options"]) == (DATA, "nosniff")
    part = await client.get(f"/v1/files/{made['id']}/content", headers={"range": "bytes=0-4"})
    assert (part.status_code, part.content) == (206, DATA[:5])
    assert leftovers(service) == []


@on_sqlite
@pytest.mark.parametrize(
    ("content", "loc", "message"),
    [
        (b"", "file", "it has no rows"),
        (b"\n \n", "file", "it has no rows"),
        (DATA + b"{", "line 3", "not valid JSON"),
        (DATA + b"[1]\n", "line 3", "not a JSON object but an array"),
        (b"null\n", "line 1", "not a JSON object but null"),
        (b'{"a": NaN}\n', "line 1", "not valid JSON"),
        (b'\xef\xbb\xbf{"a": 1}\n', "line 1", "not valid JSON"),
        (b'{"a": "\xff"}\n', "line 1", "not valid JSON"),
        (b'{"a": "\\ud800"}\n', "line 1", "not valid JSON"),
        (DATA + b"\n" + DATA, "line 3", "blank"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "line 1", "not valid JSON"),
        (b"{" + b",".join(b'"c%d": 1' % n for n in range(257)) + b"}", "line 1", "more than 256 columns"),
    ],
)
async def test_a_wrong_line_is_named(
    client: httpx.AsyncClient, service: Service, content: bytes, loc: str, message: str
) -> None:
    response = await upload(client, content)
    problem = response.json()
    assert (response.status_code, problem["error"]["code"]) == (422, "invalid_file")
    assert problem["errors"][0]["loc"] == loc
    assert problem["errors"][0]["message"].startswith(message)
    assert leftovers(service) == []
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_blank_lines_at_the_end_are_no_rows(client: httpx.AsyncClient) -> None:
    assert (await upload(client, DATA.replace(b"\n", b"\r\n") + b"\n\n")).json()["rows"] == 2


async def test_a_line_has_a_bound(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.files.lines.MAX_LINE_BYTES", 40)
    just = b'{"a": "' + b"x" * 31 + b'"}'
    assert (await upload(client, just + b"\n")).status_code == 200
    response = await upload(client, DATA + just.replace(b'"}', b'x"}') + b"\n")
    assert response.json()["errors"] == [{"loc": "line 3", "message": "longer than 40 bytes"}]


async def test_an_upload_has_a_bound(client: httpx.AsyncClient, service: Service) -> None:
    big = b'{"a": 1}\n' * 200_000
    response = await upload(client, big)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")

    async def pieces() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    headers = {"content-type": "multipart/form-data; boundary=b"}
    streamed = await client.post("/v1/files", content=pieces(), headers=headers)
    assert (streamed.status_code, streamed.json()["error"]["code"]) == (413, "too_large")
    assert leftovers(service) == []


@on_sqlite
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=b", 400),
        (b"--b\r\n", "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--', "", 415),
        (
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
        ),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=" + "b" * 500, 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, service: Service, body: bytes, content_type: str, status: int
) -> None:
    response = await client.post("/v1/files", content=body, headers={"content-type": content_type})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


async def test_purpose_and_name_are_checked(client: httpx.AsyncClient) -> None:
    wrong = await client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a", DATA)})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "purpose")
    for name, kept in (("../../etc/passwd", "passwd"), ("C:\\x\\a.jsonl", "a.jsonl"), ("é" * 300, "é" * 255)):
        assert (await upload(client, DATA, name)).json()["filename"] == kept


async def test_lists_go_both_ways(client: httpx.AsyncClient) -> None:
    made = [(await upload(client, DATA)).json()["id"] for _ in range(3)]
    newest = (await client.get("/v1/files", params={"limit": 2})).json()
    assert ([row["id"] for row in newest["data"]], newest["has_more"]) == ([made[2], made[1]], True)
    rest = (await client.get("/v1/files", params={"after": newest["last_id"]})).json()
    assert [row["id"] for row in rest["data"]] == [made[0]]
    oldest = (await client.get("/v1/files", params={"order": "asc", "after": made[0]})).json()
    assert [row["id"] for row in oldest["data"]] == made[1:]


async def test_a_deleted_file_is_gone(client: httpx.AsyncClient) -> None:
    file_id = (await upload(client, DATA)).json()["id"]
    gone = await client.delete(f"/v1/files/{file_id}")
    assert gone.json() == {"id": file_id, "object": "file", "deleted": True}
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/v1/files/{file_id}")).status_code == 404
