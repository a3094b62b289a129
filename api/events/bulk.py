"""Many rows of the log at once, each database by its fastest way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

COLUMNS = ("job_id", "number", "attempt", "seq", "time", "type", "step", "is_superseded", "data")

_NAMES = ", ".join(COLUMNS)
# The driver's own statements: what SQLAlchemy does for each row and column takes as long as the database.
_INSERT = f"INSERT INTO events ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - our own names
_COPY = f"COPY events ({_NAMES}) FROM STDIN"

Row = tuple[str, int, int, int, float, str, int | None, bool, str]
"""In the order of COLUMNS; `data` is JSON text."""


async def insert(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Adds the rows in the session's transaction.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses them.
        OverflowError: SQLite has no such integer.
    """
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_INSERT, list(rows))
        return
    try:
        await _copy(connection, rows)
    except psycopg.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg.Error, hide_parameters=True) from error


async def _copy(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    raw: Any = (await connection.get_raw_connection()).driver_connection
    async with raw.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            await copy.write_row(row)
