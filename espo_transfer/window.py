"""The requests of one transfer: which chunks are asked for, which came, which to ask again."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import RedisError

from espo_contracts.events import FileEntry
from espo_contracts.wire import (
    CHUNK_BYTES,
    CHUNK_WINDOW,
    TRANSFER_EXPIRY_SECONDS,
    ChunkRequest,
    chunks_key,
    requests_key,
)
from espo_transfer.connection import BLOCK_SECONDS
from espo_transfer.errors import TransferError
from espo_transfer.frames import BadFrameError, Frame, decode

_FIRST_QUIET_SECONDS, _LONGEST_QUIET_SECONDS = 2.0, 30.0
"""Silence after which all is asked again; doubled each time, since the source may be busy with others."""
_BAD_FRAMES = 64
"""So many damaged or useless frames without a good one, and the source is broken rather than the way."""


class Window:
    """The chunks of one file between asked for and received. Not for several threads."""

    def __init__(self, client: Redis, place: str, entry: FileEntry, patience_seconds: float) -> None:
        self._client = client
        self._requests = requests_key(place)
        self._entry = entry
        self._patience_seconds = patience_seconds
        self._transfer = uuid.uuid4().hex
        self._chunks = chunks_key(self._transfer)
        self._to_ask = deque(range(0, entry.size, CHUNK_BYTES))
        self._asked: dict[int, str] = {}
        self._stale: set[str] = set()
        self._heard_at = self._asked_at = time.monotonic()
        self._quiet_seconds = _FIRST_QUIET_SECONDS
        self._bad_frames = 0

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def is_complete(self) -> bool:
        return not self._to_ask and not self._asked

    def exchange(self) -> Iterator[tuple[int, bytes]]:
        """Ask for what the window allows, wait shortly, yield (offset, bytes) of the chunks that came.

        Raises:
            TransferError: the source refuses, keeps sending rubbish, or is silent beyond patience.
        """
        self._ask()
        is_useful = False
        for frame in self._wait():
            chunk = self._accept(frame)
            if chunk is not None:
                is_useful = True
                yield chunk
        if is_useful:
            self._heard_at = self._asked_at = time.monotonic()
            self._quiet_seconds = _FIRST_QUIET_SECONDS
        else:
            self._check_silence()

    def outage(self) -> None:
        """Redis did not answer: nothing that was asked for counts, and neither does the time."""
        self.ask_again_later()
        self._heard_at = time.monotonic()

    def ask_again_later(self) -> None:
        """Count every outstanding chunk as lost: the next exchange asks for it."""
        self._stale.update(self._asked.values())
        self._to_ask.extendleft(sorted(self._asked, reverse=True))
        self._asked.clear()
        self._asked_at = time.monotonic()

    def close(self) -> None:
        """Take back what nobody will read. What an outage keeps here expires by itself."""
        self.ask_again_later()
        with contextlib.suppress(RedisError):
            self._exchange_requests([])

    def _ask(self) -> None:
        offsets = [self._to_ask.popleft() for _ in range(min(self._free, len(self._to_ask)))]
        self._asked |= {offset: self._document(offset) for offset in offsets}
        if offsets:
            self._exchange_requests([self._asked[offset] for offset in offsets])

    def _exchange_requests(self, documents: list[str]) -> None:
        """Withdraw stale requests and their chunks, then push new ones: no chunk is in Redis twice."""
        pipeline = self._client.pipeline(transaction=False)
        for document in self._stale:
            pipeline.lrem(self._requests, 0, document)
        if self._stale or not documents:
            pipeline.delete(self._chunks)
        if documents:
            pipeline.rpush(self._requests, *documents)
            pipeline.expire(self._requests, TRANSFER_EXPIRY_SECONDS)
        pipeline.execute()
        self._stale.clear()

    @property
    def _free(self) -> int:
        return CHUNK_WINDOW - len(self._asked)

    def _document(self, offset: int) -> str:
        return ChunkRequest(
            transfer=self._transfer,
            sha256=self._entry.sha256,
            offset=offset,
            length=min(CHUNK_BYTES, self._entry.size - offset),
        ).model_dump_json()

    def _wait(self) -> list[bytes]:
        first = self._client.blpop([self._chunks], timeout=BLOCK_SECONDS)
        if first is None:
            return []
        more = self._client.lpop(self._chunks, CHUNK_WINDOW)
        return [first[1], *(more or [])]

    def _check_silence(self) -> None:
        now = time.monotonic()
        if now - self._heard_at >= self._patience_seconds:
            raise TransferError(f"{self._entry.name}: the source has been silent for too long")
        if now - self._asked_at >= self._quiet_seconds:
            self._quiet_seconds = min(2 * self._quiet_seconds, _LONGEST_QUIET_SECONDS)
            self.ask_again_later()

    def _accept(self, document: bytes) -> tuple[int, bytes] | None:
        """The chunk of a frame, or None when the frame is of no use."""
        try:
            frame = decode(document)
        except BadFrameError as error:
            self._note_bad_frame(str(error))
            self._ask_again(error.offset)
            return None
        if frame.kind == "refusal":
            raise TransferError(f"{self._entry.name}: {frame.payload.decode(errors='replace')}")
        if frame.offset not in self._asked:
            return None  # a chunk that came twice
        return self._take(frame)

    def _take(self, frame: Frame) -> tuple[int, bytes] | None:
        if len(frame.payload) != min(CHUNK_BYTES, self._entry.size - frame.offset):
            self._note_bad_frame(f"{len(frame.payload)} bytes came at offset {frame.offset}")
            self._ask_again(frame.offset)
            return None
        del self._asked[frame.offset]
        self._bad_frames = 0
        return frame.offset, frame.payload

    def _ask_again(self, offset: int) -> None:
        if self._asked.pop(offset, None) is not None:
            self._to_ask.appendleft(offset)

    def _note_bad_frame(self, reason: str) -> None:
        self._bad_frames += 1
        if self._bad_frames > _BAD_FRAMES:
            raise TransferError(f"{self._entry.name}: too many useless chunks, the last: {reason}")
