from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from api.db import Database
from api.migrate import alembic_config, newest_revision
from api.settings import REPOSITORY
from api.tables import metadata


async def test_models_and_migrations_do_not_drift(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_downgrade_removes_every_table(database: Database, database_url: str) -> None:
    command.downgrade(alembic_config(database_url), "base")
    async with database.engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert set(names) == {"alembic_version"}


def test_two_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"ESPO_DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"}
    command_line = [sys.executable, "-m", "alembic", "upgrade", "head"]
    processes = [subprocess.Popen(command_line, env=environment, cwd=REPOSITORY) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    with sqlite3.connect(tmp_path / "new.db") as connection:
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    assert versions == [(newest_revision(),)]
