"""Takes checkpoints that workers offer into the store.

The numbered Checkpoint event comes only after the offer's state is `stored`, so a reader of the API never
sees a checkpoint whose bytes are not all there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from api.jobs.models import Attempt
from api.loops.context import Context
from api.loops.holds import Holds
from api.store import repository
from api.store.incoming import incoming
from espo_contracts.events import FileEntry
from espo_contracts.wire import LEASE_SECONDS, UPLOADS_KEY, Upload
from espo_transfer import Cancelled, TransferError, connect, fetch

POLL_SECONDS = 0.25
REST_SECONDS = 5.0
"""After a full disk or a silent worker; the offer stands meanwhile."""

_ANSWER = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    field: str
    document: bytes
    upload: Upload


class Receiver:
    """Takes one offer at each `step`; as many steps may run at once as uploads should, in many processes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._holds = Holds(context.redis)
        self._rests_until: dict[str, float] = {}

    async def step(self) -> None:
        """Receives the next offer, or waits a moment when there is none."""
        offer = await self._next_offer()
        if offer is None:
            await self._context.stop.wait(POLL_SECONDS)
            return
        async with self._holds.kept(offer.field):
            await self._receive(offer)

    async def _next_offer(self) -> _Offer | None:
        """The first offer that nobody receives, which is ours now."""
        now = time.monotonic()
        documents: dict[Any, Any] = await self._context.redis.hgetall(UPLOADS_KEY)
        for name, document in sorted(documents.items()):
            field = name.decode()
            if self._rests_until.get(field, 0.0) > now:
                continue
            upload = await self._parse(field, document)
            if upload is not None and upload.state == "offered" and await self._holds.take(field):
                return _Offer(field=field, document=document, upload=upload)
        self._rests_until = {field: until for field, until in self._rests_until.items() if until > now}
        return None

    async def _parse(self, field: str, document: bytes) -> Upload | None:
        try:
            return Upload.model_validate_json(document)
        except ValidationError:
            log.warning("an offered checkpoint cannot be read: %s", field)
            await self._context.redis.hdel(UPLOADS_KEY, field)
            return None

    async def _receive(self, offer: _Offer) -> None:
        if not await self._is_live(offer.upload):
            await self._answer(offer, "refused", reason="the attempt is over")
            return
        try:
            for entry in offer.upload.files:
                await self._take(offer.field, entry)
        except Cancelled:
            return
        except (OSError, TransferError) as error:
            log.warning("checkpoint %s waits: %s", offer.field, error)
            self._rests_until[offer.field] = time.monotonic() + REST_SECONDS
            return
        await self._answer(offer, "stored")

    async def _is_live(self, upload: Upload) -> bool:
        async with self._context.database.read() as session:
            attempt = await session.get(Attempt, (upload.job, upload.attempt))
        return attempt is not None and attempt.ended_at is None

    async def _take(self, place: str, entry: FileEntry) -> None:
        """Puts one file into the store, without a transfer when its content is there already."""
        await self._touch(entry)
        if await asyncio.to_thread(self._is_stored, entry):
            return
        async with incoming(self._context.settings.home) as folder:
            target = folder / entry.sha256
            await asyncio.to_thread(self._fetch, place, entry, target)
            await self._touch(entry)  # a long transfer may have outlasted the first one
            await asyncio.to_thread(self._context.store.adopt, target, entry.sha256)

    async def _touch(self, entry: FileEntry) -> None:
        async with self._context.database.write() as session:
            await repository.touch(session, entry.sha256, entry.size)

    def _is_stored(self, entry: FileEntry) -> bool:
        try:
            return self._context.store.size(entry.sha256) == entry.size
        except KeyError:
            return False

    def _fetch(self, place: str, entry: FileEntry, target: Path) -> None:
        with connect(self._context.settings.redis_url) as client:
            fetch(client, place, entry, target, self._context.stop.thread, patience_seconds=LEASE_SECONDS)

    async def _answer(self, offer: _Offer, state: Literal["stored", "refused"], *, reason: str = "") -> None:
        """Unless the worker has withdrawn it meanwhile: nobody would clear the answer away."""
        answer = offer.upload.model_copy(update={"state": state, "reason": reason})
        arguments: list[Any] = [offer.field, offer.document, answer.model_dump_json()]
        await self._context.redis.register_script(_ANSWER)(keys=[UPLOADS_KEY], args=arguments)
