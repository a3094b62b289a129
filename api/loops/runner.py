"""Keeps the background loops going: through outages of Redis and database, until the order to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from api.loops.context import Context, Stop
from api.loops.dispatch import Dispatcher
from api.loops.hints import Hints
from api.loops.housekeeping import Housekeeper
from api.loops.ingest import Ingester
from api.loops.pulse import Publisher
from api.loops.receive import Receiver
from api.loops.reconcile import Reconciler
from api.loops.serve import StoreServer
from api.loops.summarise import Summariser
from api.loops.sweep import Sweeper
from api.loops.wake import DispatchWaker

Step = Callable[[], Awaitable[None]]

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
STOP_SECONDS = 20.0
"""An upload's last chunk, or SQLite's lock, may keep a step that long; then it is cancelled."""

# What passes by itself: a line in the log is enough. Anything else is a defect, and gets its trace.
OUTAGES = (RedisError, OperationalError, InterfaceError, OSError)

log = logging.getLogger(__name__)

RECEIVERS = 2
"""Uploads at a time; each holds at most one window of chunks in Redis."""
STORE_SERVERS = 2


def _dispatch(context: Context, hints: Hints) -> list[Step]:
    return [Dispatcher(context, hints).step, DispatchWaker(context).step]


def _ingest(context: Context, _: Hints) -> list[Step]:
    receiver = Receiver(context)
    servers = [StoreServer(context).step for _ in range(STORE_SERVERS)]
    return [Ingester(context).step, *[receiver.step] * RECEIVERS, *servers]


def _reconcile(context: Context, hints: Hints) -> list[Step]:
    tidying = [Housekeeper(context).step, Sweeper(context).step, Summariser(context).step]
    return [Reconciler(context, hints).step, *tidying]


# The first step of each is what the loop is for: a round of it takes seconds at most.
PARTS: Mapping[str, Callable[[Context, Hints], list[Step]]] = {
    "dispatch": _dispatch,
    "ingest": _ingest,
    "reconcile": _reconcile,
}


async def run_loops(names: Iterable[str], context: Context) -> None:
    """Runs the named loops until `context.stop`, and returns when all have ended."""
    # Events come and go by the thousand and leave no circles: at Python's own thresholds the collector takes
    # a quarter of the ingester's time.
    gc.set_threshold(50_000, 20, 50)
    hints = Hints(context.settings.broker_url)
    steps = [(name, step) for name in names for step in _steps(name, context, hints)]
    if steps:
        steps.append(("pulse", Publisher(context).step))
    tasks = [asyncio.create_task(keep_going(name, step, context.stop)) for name, step in steps]
    try:
        await context.stop.wait()
    finally:
        context.stop.set()  # also when this coroutine is cancelled, since threads cannot be
        await _end(tasks)
        await hints.close()


def _steps(name: str, context: Context, hints: Hints) -> list[Step]:
    """The steps of a loop; each good round of its first is its pulse."""
    first, *others = PARTS[name](context, hints)
    context.pulses.note(name)

    async def pulsing() -> None:
        await first()
        context.pulses.note(name)

    return [pulsing, *others]


async def keep_going(name: str, step: Step, stop: Stop) -> None:
    """Repeats a step until `stop`. What fails is tried again after a pause that grows to a bound."""
    failures = 0
    while not stop.is_set:
        try:
            await step()
            failures = 0
        except OUTAGES as error:
            failures += 1
            log.warning("%s waits: %s", name, _brief(error))
        except Exception:
            failures += 1
            log.exception("%s failed and goes on", name)
        if failures:
            await stop.wait(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10)))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _brief(error: BaseException) -> str:
    """The error without SQLAlchemy's statement and parameters, which may hold a user's data."""
    if isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error.orig}"
    return f"{type(error).__name__}: {error}"
