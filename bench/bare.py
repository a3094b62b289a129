"""What a database takes by its driver alone: one executemany of rows that it has had already."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

import psycopg

from api.events.bulk import COLUMNS

_NAMES = ", ".join(COLUMNS)


def bare_seconds(database_url: str, job_id: str) -> float:
    """Seconds to put a job's metrics into the table again, after they were taken out."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):  # as the service has them
            connection.execute(f"PRAGMA {pragma}")
        return _seconds(connection, "?", job_id)
    return _seconds(psycopg.connect(database_url), "%s", job_id)


def _seconds(connection: Any, mark: str, job_id: str) -> float:
    which = f"FROM events WHERE job_id = {mark} AND type = 'metrics'"
    cursor = connection.cursor()
    rows = cursor.execute(f"SELECT {_NAMES} {which}", (job_id,)).fetchall()
    # One driver gives the document as text, the other parsed.
    rows = [(*row[:-1], row[-1] if isinstance(row[-1], str) else json.dumps(row[-1])) for row in rows]
    cursor.execute(f"DELETE {which}", (job_id,))
    connection.commit()
    values = ", ".join([mark] * len(COLUMNS))
    begin = time.perf_counter()
    cursor.executemany(f"INSERT INTO events ({_NAMES}) VALUES ({values})", rows)  # noqa: S608
    connection.commit()
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds
