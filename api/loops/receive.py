"""Takes checkpoints that workers offer into the store.

The numbered Checkpoint event comes only after the offer's state is `stored`, so a reader of the API never
sees a checkpoint whose bytes are not all there.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from api.jobs.models import Attempt
from api.loops.context import Context
from api.store import repository
from espo_contracts.events import FileEntry
from espo_contracts.wire import LEASE_SECONDS, UPLOADS_KEY, Upload
from espo_transfer import Cancelled, TransferError, connect, fetch

POLL_SECONDS = 0.25
REST_SECONDS = 5.0
"""After a full disk or a silent worker; the offer stands meanwhile."""

log = logging.getLogger(__name__)


class Receiver:
    """Takes one offer at each `step`; as many steps may run at once as uploads should.

    Two processes may take the same offer: each fetches whole files, and the store keeps one of two equals.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._busy: set[str] = set()
        self._rests_until: dict[str, float] = {}

    async def step(self) -> None:
        """Receives the next offer, or waits a moment when there is none."""
        offer = await self._next_offer()
        if offer is None:
            await self._context.stop.wait(POLL_SECONDS)
            return
        field, upload = offer
        self._busy.add(field)
        try:
            await self._receive(field, upload)
        finally:
            self._busy.discard(field)

    async def _next_offer(self) -> tuple[str, Upload] | None:
        now = time.monotonic()
        documents: dict[Any, Any] = await self._context.redis.hgetall(UPLOADS_KEY)
        for name, document in sorted(documents.items()):
            field = name.decode()
            if field in self._busy or self._rests_until.get(field, 0.0) > now:
                continue
            upload = await self._parse(field, document)
            if upload is not None and upload.state == "offered":
                return field, upload
        self._rests_until = {field: until for field, until in self._rests_until.items() if until > now}
        return None

    async def _parse(self, field: str, document: bytes) -> Upload | None:
        try:
            return Upload.model_validate_json(document)
        except ValidationError:
            log.warning("an offered checkpoint cannot be read: %s", field)
            await self._context.redis.hdel(UPLOADS_KEY, field)
            return None

    async def _receive(self, field: str, upload: Upload) -> None:
        if not await self._is_live(upload):
            await self._answer(field, upload, "refused", reason="the attempt is over")
            return
        try:
            for entry in upload.files:
                await self._take(field, entry)
        except Cancelled:
            return
        except (OSError, TransferError) as error:
            log.warning("checkpoint %s waits: %s", field, error)
            self._rests_until[field] = time.monotonic() + REST_SECONDS
            return
        await self._answer(field, upload, "stored")

    async def _is_live(self, upload: Upload) -> bool:
        async with self._context.database.read() as session:
            attempt = await session.get(Attempt, (upload.job, upload.attempt))
        return attempt is not None and attempt.ended_at is None

    async def _take(self, place: str, entry: FileEntry) -> None:
        """Puts one file into the store, without a transfer when its content is there already."""
        await self._touch(entry)
        if await asyncio.to_thread(self._is_stored, entry):
            return
        # A name of its own: two offers that are received at once often share a file, such as the tokenizer.
        target = self._context.settings.home / "tmp" / uuid.uuid4().hex
        try:
            await asyncio.to_thread(self._fetch, place, entry, target)
            await self._touch(entry)  # a long transfer may have outlasted the first one
            await asyncio.to_thread(self._context.store.adopt, target, entry.sha256)
        finally:
            await asyncio.to_thread(target.unlink, missing_ok=True)

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

    async def _answer(
        self, field: str, upload: Upload, state: Literal["stored", "refused"], *, reason: str = ""
    ) -> None:
        answer = upload.model_copy(update={"state": state, "reason": reason})
        await self._context.redis.hset(UPLOADS_KEY, field, answer.model_dump_json())
