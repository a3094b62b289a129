"""Brings a database to the newest revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from api.settings import REPOSITORY


def upgrade(url: str) -> None:
    """Runs the pending migrations; blocks until another process that does so has finished."""
    command.upgrade(alembic_config(url), "head")


def newest_revision() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory.from_config(alembic_config("")).get_current_head()


def alembic_config(url: str) -> Config:
    config = Config(str(Path(REPOSITORY) / "alembic.ini"))
    config.attributes["url"] = url
    return config
