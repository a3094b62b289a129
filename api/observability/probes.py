"""Whether each thing that this service depends on can be used now, and if not why."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from api.loops.context import Context
from api.loops.pulse import HANGING_SECONDS, told
from api.observability.bounded import within
from api.settings import LOOPS, REPOSITORY

PROBE_SECONDS = 2.0


class UnreadyError(Exception):
    """Something is there and cannot be used; the message says why, without addresses or names of users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of a probe; `detail` is empty where all is well."""

    is_ok: bool
    seconds: float
    detail: str = ""


async def probe_all(context: Context) -> dict[str, Finding]:
    """A finding of each dependency, all asked at once."""
    questions: dict[str, Coroutine[Any, Any, None]] = {
        "database": _database(context),
        "migrations": _migrations(context),
        "store": asyncio.to_thread(context.store.probe),
        "redis": _redis(context.redis),
    }
    found, loops = await asyncio.gather(
        asyncio.gather(*(_find(question) for question in questions.values())), _loops(context)
    )
    return dict(zip(questions, found, strict=True)) | loops


async def _find(question: Coroutine[Any, Any, None]) -> Finding:
    begin = time.perf_counter()
    detail = ""
    try:
        await within(PROBE_SECONDS, question)
    except UnreadyError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to the question asked
        # The text of a driver's error may hold addresses and names: the log has it, the public does not.
        detail = type(error).__name__
    return Finding(is_ok=not detail, seconds=time.perf_counter() - begin, detail=detail)


async def _database(context: Context) -> None:
    async with context.database.read() as session:
        await session.execute(text("SELECT 1"))


async def _migrations(context: Context) -> None:
    try:
        async with context.database.read() as session:
            revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        raise UnreadyError("no tables: python -m alembic upgrade head") from None
    known = revisions()
    # A revision that we do not know is that of a newer version, which is being rolled out: we can go on.
    if revision in known[:-1] or revision is None:
        raise UnreadyError(f"at revision {revision}, wants {known[-1]}: python -m alembic upgrade head")


@functools.cache
def revisions() -> tuple[str, ...]:
    """The revisions of the tables, oldest first. Not by alembic, whose import takes half a second."""
    parents = {}
    for path in (REPOSITORY / "migrations" / "versions").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        parents[_assigned(source, "down_revision")] = _assigned(source, "revision")
    ordered: list[str] = []
    while (following := parents.get(ordered[-1] if ordered else "")) is not None:
        ordered.append(following)
    return tuple(ordered)


def _assigned(source: str, name: str) -> str:
    """The string that a module assigns to a name, empty for None."""
    found = re.search(rf"^{name}\b[^=\n]*= *[\"']([^\"']+)[\"']", source, re.MULTILINE)
    return found[1] if found else ""


async def _redis(redis: Redis) -> None:
    memory: dict[str, Any] = await redis.info("memory")
    used, most = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
    if most and used >= most:
        raise UnreadyError(f"full: {used} of {most} bytes, so senders wait")


async def _loops(context: Context) -> dict[str, Finding]:
    """A finding of each loop, wherever it runs."""
    begin = time.perf_counter()
    ages = await loop_ages(context)
    seconds = time.perf_counter() - begin
    return {f"loop_{name}": _loop(ages.get(name, []), seconds) for name in LOOPS}


def _loop(ages: list[float], seconds: float) -> Finding:
    hanging = [age for age in ages if age > HANGING_SECONDS]
    detail = "no process runs it" if not ages else ""
    if hanging:
        detail = f"no good round for {max(hanging):.0f} s in {len(hanging)} of {len(ages)} processes"
    return Finding(is_ok=not detail, seconds=seconds, detail=detail)


async def loop_ages(context: Context) -> Mapping[str, list[float]]:
    """Seconds since the last good round of each loop, once for every process that runs it."""
    own = context.pulses.ages()
    try:
        ages = await within(PROBE_SECONDS, told(context.redis, besides=context.pulses.process))
    except Exception:  # noqa: BLE001 - without Redis, only our own are known
        ages = {}
    for name, age in own.items():
        ages.setdefault(name, []).append(age)
    return ages
