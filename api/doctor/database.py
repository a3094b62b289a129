"""Whether the database answers, has our tables, and agrees with us about the time."""

from __future__ import annotations

import time

from sqlalchemy import make_url, text

from api.db import Database
from api.observability.probes import revisions
from api.settings import Settings
from espo_contracts.finding import Finding, fail, ok, warn

CHECK = "database"
SKEW_SECONDS = 2.0
UPGRADE = "Run `python -m alembic upgrade head` with the same ESPO_DATABASE_URL."


async def examine_database(settings: Settings) -> list[Finding]:
    """Findings about the database."""
    where = make_url(settings.database_url).render_as_string(hide_password=True)
    if settings.is_embedded:
        path = make_url(settings.database_url).database or ""
        if not settings.home.joinpath(path).exists():
            return [ok(CHECK, f"{where} is not there yet; the first start makes it")]
    database = Database(settings.database_url)
    try:
        return [await _revision(database, where), await _clock(database)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        reason = str(getattr(error, "orig", error)).strip().splitlines()[:1]
        hint = "Check ESPO_DATABASE_URL, and that the server runs and lets this user in."
        return [fail(CHECK, f"{where} cannot be used: {type(error).__name__}: {' '.join(reason)}", hint)]
    finally:
        await database.close()


async def _revision(database: Database, where: str) -> Finding:
    tables = {
        True: "SELECT name FROM sqlite_master WHERE name = 'alembic_version'",
        False: "SELECT tablename FROM pg_tables WHERE tablename = 'alembic_version'",
    }
    async with database.read() as session:
        if await session.scalar(text(tables[database.is_sqlite])) is None:
            return fail(CHECK, f"{where} has no tables", UPGRADE)
        revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
    known = revisions()
    if revision == known[-1]:
        return ok(CHECK, f"{where} answers, its tables are of revision {revision}")
    if revision in known:
        return fail(CHECK, f"the tables are of revision {revision}, this version wants {known[-1]}", UPGRADE)
    hint = "Update this installation, or point ESPO_DATABASE_URL to its own database."
    return warn(CHECK, f"the tables are of revision {revision}, which is newer than this version", hint)


async def _clock(database: Database) -> Finding:
    if database.is_sqlite:
        return ok("database clock", "SQLite has the clock of this machine")
    began = time.time()
    async with database.read() as session:
        told = float(await session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
    return clock_finding("database clock", told, began=began, ended=time.time())


def clock_finding(check: str, told: float, *, began: float, ended: float) -> Finding:
    """A finding about a clock that was read between two moments of ours."""
    skew = max(told - ended, began - told, 0.0)
    if skew <= SKEW_SECONDS:
        return ok(check, "agrees with this machine's")
    hint = "Let both keep time by NTP: ages and waiting times in lists and figures are wrong by as much."
    return warn(check, f"differs from this machine's by {skew:.1f} s", hint)
