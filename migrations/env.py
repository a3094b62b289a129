"""Runs migrations on SQLite and PostgreSQL: all pending ones in one transaction, one process at a time."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool

from api.settings import Settings
from api.tables import metadata

# Any number will do, as long as nobody else in this database takes an advisory lock of it.
_LOCK = 5_270_512_010


def _run() -> None:
    url = context.config.attributes.get("url") or Settings().database_url
    engine = create_engine(url.replace("+aiosqlite", ""), poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_exclusively)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _migrate(connection)
    engine.dispose()


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
        compare_server_default=True,
    )
    context.run_migrations()


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    # The driver commits by itself before some statements, which would leave half a migration behind.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=60000")


def _begin_exclusively(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


_run()
