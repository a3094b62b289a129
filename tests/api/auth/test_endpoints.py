"""Keys over HTTP: made, listed, used, rotated, revoked."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from api.auth.keys import Scope
from api.auth.models import ApiKey
from tests.api.conftest import Service
from tests.api.marks import on_sqlite


async def make(admin: httpx.AsyncClient, **wanted: object) -> dict[str, str]:
    response = await admin.post("/v1/keys", json=wanted)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    made: dict[str, str] = response.json()
    return made


async def status(service: Service, secret: str) -> int:
    """What the service answers to this key now."""
    async with service.client(secret) as client:
        return (await client.get("/v1/jobs")).status_code


async def test_a_key_is_shown_once_and_works_within_its_scopes(
    admin: httpx.AsyncClient, service: Service
) -> None:
    made = await make(admin, name="ci", scopes=["read"])
    secret = made.pop("secret")
    listed = (await admin.get("/v1/keys", params={"limit": 1})).json()
    assert listed["data"][0] == made
    assert made["prefix"] == secret[:11]
    assert listed["has_more"]
    assert secret not in (await admin.get("/v1/keys")).text
    async with service.client(secret) as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        assert (await client.post("/v1/jobs", json={})).status_code == 403
        assert (await client.get("/v1/keys")).status_code == 403
    rest = (await admin.get("/v1/keys", params={"after": made["id"]})).json()
    assert made["id"] not in [key["id"] for key in rest["data"]]


async def test_a_revoked_key_is_refused_at_once(admin: httpx.AsyncClient, service: Service) -> None:
    made = await make(admin)
    assert await status(service, made["secret"]) == 200
    revoked = await admin.delete(f"/v1/keys/{made['id']}")
    assert await status(service, made["secret"]) == 401
    assert not revoked.json()["is_active"]
    again = await admin.delete(f"/v1/keys/{made['id']}")
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
    assert (await admin.post(f"/v1/keys/{made['id']}/rotate")).status_code == 409


async def test_both_keys_work_until_the_overlap_ends(admin: httpx.AsyncClient, service: Service) -> None:
    old = await make(admin, name="ci", scopes=["read"], expires_at=time.time() + 3600)
    response = await admin.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 60})
    assert response.status_code == 201
    new = response.json()
    assert (new["name"], new["scopes"]) == ("ci", ["read"])
    # It lasts as long as the old one was to.
    assert new["expires_at"] - new["created_at"] == pytest.approx(3600, abs=5)
    assert [await status(service, key["secret"]) for key in (old, new)] == [200, 200]
    async with service.resources.context.database.write() as session:
        row = await session.get_one(ApiKey, old["id"])
        assert row.expires_at == pytest.approx(new["created_at"] + 60, abs=5)
        row.expires_at = time.time() - 1
    assert [await status(service, key["secret"]) for key in (old, new)] == [401, 200]


async def test_without_overlap_a_rotated_key_is_refused_at_once(
    admin: httpx.AsyncClient, service: Service
) -> None:
    old = await make(admin)
    await admin.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 0})
    assert await status(service, old["secret"]) == 401


@on_sqlite
@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["root"]},
        {"scopes": []},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 129},
        {"expires_at": 1.0},
        {"expires_at": 1e300},
        {"expires_at": "soon"},
        {"project_id": "proj-1"},
    ],
)
async def test_a_wrong_key_is_not_made(admin: httpx.AsyncClient, wanted: dict[str, object]) -> None:
    response = await admin.post("/v1/keys", json=wanted)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert next(iter(wanted)) in response.json()["errors"][0]["loc"]


async def test_the_last_use_is_written_beside_the_requests_once_a_minute(service: Service) -> None:
    secret = await service.key("ours", [Scope.READ, Scope.ADMIN])
    async with service.client(secret) as client:
        await asyncio.gather(*(client.get("/v1/jobs") for _ in range(5)))
        first = await _last_use(client)
        assert first == pytest.approx(time.time(), abs=60)
        await client.get("/v1/jobs")
        assert await _last_use(client) == first
        async with service.resources.context.database.write() as session:
            row = await session.get_one(ApiKey, (await client.get("/v1/keys")).json()["last_id"])
            row.last_used_at = first - 3600
        # This process remembers that it wrote; another one would write now.
        assert await _last_use(client) == first - 3600
        service.resources.key_uses._tried.clear()
        assert (await client.get("/v1/jobs")).status_code == 200
        async with asyncio.timeout(20):
            while await _last_use(client) == first - 3600:  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.02)


async def _last_use(client: httpx.AsyncClient) -> float:
    """The last use in the database, as soon as there is one."""
    async with asyncio.timeout(20):
        while True:
            used: float | None = (await client.get("/v1/keys")).json()["data"][0]["last_used_at"]
            if used is not None:
                return used
            await asyncio.sleep(0.02)


@on_sqlite
async def test_a_use_that_cannot_be_written_hinders_nobody(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    secret = await service.key("ours", [Scope.READ])
    async with service.resources.context.database.write() as session:
        # SQLite has one writer: nobody else may write as long as this transaction is open.
        await session.get(ApiKey, "none")
        assert await status(service, secret) == 200
        assert service.resources.key_uses._writing is not None
    async with asyncio.timeout(20):
        await service.resources.key_uses._writing
    assert "was not written" not in caplog.text
