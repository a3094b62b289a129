"""Closes the distance between database and Redis, every second: what was lost is opened again, what is over
is closed, what is silent for a lease is given to another worker.

Unreachable is not dead: silence is counted on this process's own clock, and only while Redis answers it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis.exceptions import RedisError

from api.loops.attempt_keys import acknowledge, open_keys, tell_desired, tell_taken
from api.loops.attempts import CannotStartError, cannot_start, reopen
from api.loops.context import Context
from api.loops.endings import LOST, TIMEOUT, Ending, close_over, end, replace
from api.loops.hints import Hints
from api.loops.live import Live, has_unread, load_live, save_beats
from api.loops.sights import Sight, Watch, look
from espo_contracts.job import Desired
from espo_contracts.wire import HEARTBEAT_SECONDS, LEASE_SECONDS, RUNS_KEY, Hint

TICK_SECONDS = 1.0
REHINT_SECONDS = 10.0
LOST_LOOKS = 2
"""Looks in a row that must find the keys lost: the dispatcher opens them a moment after its commit."""
TIMEOUT_GRACE_SECONDS = 300.0
"""The worker's supervisor ends a run that is too long; this is for one that does not."""

log = logging.getLogger(__name__)


class Reconciler:
    """Any number of them may run: each decision is taken under the job's lock."""

    def __init__(self, context: Context, hints: Hints, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._hints = hints
        self._watches: dict[tuple[str, int], Watch] = {}
        self._looked_at = clock()

    async def step(self) -> None:
        """One tick, then the rest of its second."""
        began = self._clock()
        # A tick that failed does not move `_looked_at`, and the next counts no more than two.
        await self.tick(listened_seconds=min(began - self._looked_at, 2 * TICK_SECONDS))
        self._looked_at = began
        await self._context.stop.wait(max(0.0, TICK_SECONDS - (self._clock() - began)))

    async def tick(self, *, listened_seconds: float) -> None:
        """Looks at every open attempt once and acts on what it sees."""
        # In this order: an attempt is committed before its job enters the set.
        members: set[Any] = await self._context.redis.smembers(RUNS_KEY)
        attempts = await load_live(self._context.database)
        sights = await look(self._context.redis, [live.key for live in attempts])
        self._watches = {live.key: self._watches.get(live.key, Watch()) for live in attempts}
        for live, sight in zip(attempts, sights, strict=True):
            is_taken = _is_taken(live, sight)
            self._watches[live.key].listen(sight, is_claimed=is_taken, seconds=listened_seconds)
        await self._save_beats(attempts, sights)
        for live, sight in zip(attempts, sights, strict=True):
            await self._reconcile(live, sight)
        await close_over(
            self._context, {member.decode() for member in members} - {live.job_id for live in attempts}
        )

    async def _save_beats(self, attempts: Sequence[Live], sights: Sequence[Sight]) -> None:
        """Writes beats at most every few seconds, and the first at once: it says who has the attempt."""
        due = []
        for live, sight in zip(attempts, sights, strict=True):
            watch = self._watches[live.key]
            if sight.beat is None or watch.silent_seconds > 0:
                continue
            if not live.worker or watch.unsaved_seconds >= HEARTBEAT_SECONDS:
                due.append((live.key, sight.beat))
                watch.unsaved_seconds = 0.0
        await save_beats(self._context.database, due)

    async def _reconcile(self, live: Live, sight: Sight) -> None:
        watch = self._watches[live.key]
        if await self._has_ended(live, watch):
            return
        if sight.opened != live.opened or not sight.has_stream:
            watch.misses += 1
            if watch.misses >= LOST_LOOKS:
                await self._restore(live, watch, is_taken=_is_taken(live, sight))
            return
        watch.misses = 0
        await self._correct(live, sight)
        if watch.unclaimed_seconds >= REHINT_SECONDS:
            await self._hint_again(live, watch)

    async def _has_ended(self, live: Live, watch: Watch) -> bool:
        """Whether the attempt was ended now, because its worker is gone or its time is up."""
        if live.is_overdue(TIMEOUT_GRACE_SECONDS, beats=watch.count or 0):
            return await end(self._context, live, TIMEOUT)
        if watch.silent_seconds < LEASE_SECONDS or await has_unread(self._context.redis, live):
            return False  # what a silent worker said before is taken first: it may be that it had finished
        return await end(self._context, live, LOST)

    async def _restore(self, live: Live, watch: Watch, *, is_taken: bool) -> None:
        if not is_taken:
            # Somebody may have claimed it a moment ago, and the claim is lost with the rest.
            await replace(self._context, live)
            return
        try:
            order = await reopen(self._context.database, live.job_id, live.number, seen=live.opened)
        except (CannotStartError, ValidationError) as error:
            await end(self._context, live, Ending(outcome="failed", error=cannot_start(error)))
            return
        if order is None:
            return
        log.warning(
            "opening attempt %d of %s again after event %d", live.number, live.job_id, order.committed
        )
        await open_keys(self._context.redis, live.job_id, order)
        watch.misses = 0

    async def _correct(self, live: Live, sight: Sight) -> None:
        """Repeats what another process committed but could not tell Redis."""
        if sight.committed is None or sight.committed < live.last_seq:
            await acknowledge(self._context.redis, live.job_id, live.number, live.last_seq)
        if sight.desired != live.desired:
            await tell_desired(self._context.redis, live.job_id, live.number, Desired(live.desired))
        if _is_taken(live, sight) and not sight.is_taken:
            await tell_taken(self._context.redis, live.job_id, live.number)

    async def _hint_again(self, live: Live, watch: Watch) -> None:
        """Hints an attempt that nobody took, once no hint is left in the queue that could be its own."""
        try:
            if await self._hints.waiting(live.device) == 0:
                await self._hints.send(Hint(job=live.job_id, attempt=live.number), live.device)
                watch.unclaimed_seconds = 0.0
        except (OperationalError, RedisError, TimeoutError) as error:
            log.warning("no hint for attempt %d of %s: %s", live.number, live.job_id, error)


def _is_taken(live: Live, sight: Sight) -> bool:
    """Whether a worker has the attempt, or had it."""
    return live.was_taken or sight.is_taken or sight.is_claimed or sight.beat is not None
