"""The database: connections cut, server crashed, file locked."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from random import Random

import psycopg
from sqlalchemy import make_url

from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import Stack

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"


def connections_cut(stack: Stack, rng: Random) -> None:
    """Every connection, several times, in whatever transaction it is."""
    if stack.postgres is None:
        raise NothingToHarm
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        for _ in range(rng.randint(1, 4)):
            time.sleep(rng.uniform(0.0, 0.7))
            connection.execute(_CUT, (make_url(stack.database_url).database,))


def server_crashed(stack: Stack, rng: Random) -> None:
    if stack.postgres is None:
        raise NothingToHarm
    stack.postgres.crash()
    time.sleep(rng.uniform(0.0, 4.0))
    stack.postgres.start()


def file_locked(stack: Stack, rng: Random) -> None:
    """Another program has SQLite's one write lock, such as a backup."""
    path = make_url(stack.database_url).database
    with contextlib.closing(sqlite3.connect(str(path), isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(rng.uniform(0.5, 6.0))
        connection.execute("ROLLBACK")


FAULTS = (
    Fault(name="PostgreSQL connections cut", inject=connections_cut, weight=3, databases=("postgresql",)),
    Fault(
        name="PostgreSQL crashed and restarted", inject=server_crashed, weight=2, databases=("postgresql",)
    ),
    Fault(name="SQLite locked by another", inject=file_locked, weight=2, databases=("sqlite",)),
)
