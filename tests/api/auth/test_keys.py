from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.auth.keys import Scope, digest, generate
from api.auth.models import ApiKey
from api.auth.service import authenticate, create_key, revoke_key
from api.db import Database
from api.errors import Code, DomainError
from api.settings import REPOSITORY


async def test_only_the_hash_is_stored(database: Database) -> None:
    async with database.write() as session:
        row, secret = await create_key(session, project="p", name="k", scopes=[Scope.READ])
    async with database.read() as session:
        stored = await session.get_one(ApiKey, row.id)
        caller = await authenticate(session, secret)
    assert (stored.sha256, stored.prefix) == (digest(secret), secret[:11])
    assert all(secret not in str(value) for value in vars(stored).values())
    assert (caller.project_id, caller.may(Scope.READ), caller.may(Scope.WRITE)) == (
        row.project_id,
        True,
        False,
    )


async def test_admin_may_everything(database: Database) -> None:
    async with database.write() as session:
        _, secret = await create_key(session, project="p", name="k", scopes=[Scope.ADMIN])
        caller = await authenticate(session, secret)
    assert all(caller.may(scope) for scope in Scope)


async def test_an_expired_or_revoked_key_is_nobodys(database: Database) -> None:
    async with database.write() as session:
        _, old = await create_key(session, project="p", name="k", scopes=[], expires_at=time.time() - 1)
        row, lost = await create_key(session, project="p", name="k", scopes=[], expires_at=time.time() + 60)
        await authenticate(session, lost)
        await revoke_key(session, row.id)
        for secret in (old, lost, generate(), "", "espo_"):
            with pytest.raises(DomainError) as caught:
                await authenticate(session, secret)
            assert caught.value.code is Code.INVALID_API_KEY


async def test_a_projects_keys_share_it(database: Database) -> None:
    async with database.write() as session:
        first, _ = await create_key(session, project="p", name="a", scopes=[])
        second, _ = await create_key(session, project="p", name="b", scopes=[])
        other, _ = await create_key(session, project="q", name="c", scopes=[])
    assert first.project_id == second.project_id != other.project_id


def test_keys_are_256_random_bits() -> None:
    keys = {generate() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {48}


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    environment = os.environ | {"ESPO_HOME": str(tmp_path), "ESPO_DATABASE_URL": ""}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "api.auth", *arguments]
        return subprocess.run(
            command, check=False, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
        )

    secret = run(
        "create", "--project", "x", "--name", "ci", "--scopes", "read", "--expires-days", "1"
    ).stdout.strip()
    assert secret.startswith("espo_")
    fields = run("list").stdout.strip().split("\t")
    assert fields[1:6] == [f"{secret[:11]}…", "x", "ci", "read", "expires"]
    assert run("revoke", fields[0]).returncode == 0
    assert "revoked" in run("list").stdout
    missing = run("revoke", "key-0")
    assert (missing.returncode, missing.stderr) == (1, "no key 'key-0'\n")
    assert run("create", "--scopes", "root").returncode == 2
