"""The side that has the bytes: answers chunk requests until it is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Protocol

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from espo_contracts.wire import TRANSFER_EXPIRY_SECONDS, ChunkRequest, chunks_key, requests_key
from espo_transfer.connection import BLOCK_SECONDS
from espo_transfer.frames import data_frame, refusal_frame

_BATCH = 4
"""Chunks answered with one round trip; more would only hold more memory."""
_OUTAGE_SECONDS = 0.5

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where the bytes come from."""

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """The bytes of the file with this hash.

        Raises:
            KeyError: there is no such file.
            OSError: it cannot be read.
        """


class FolderSource:
    """Local files by their hash."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """The bytes of the file with this hash."""
        with self._files[sha256].open("rb") as file:
            file.seek(offset)
            return file.read(length)


def serve(client: Redis, place: str, source: Source, stop: Event) -> None:
    """Answer the chunk requests of `place` from `source` until `stop` is set; outlasts Redis outages."""
    while not stop.is_set():
        try:
            _answer(client, source, _take(client, place))
        except RedisError as error:
            # Whatever it is: nobody would start this thread again, and the receiver would wait in vain.
            log.warning("serving %s: Redis does not answer (%s)", place, error)
            stop.wait(_OUTAGE_SECONDS)


def _take(client: Redis, place: str) -> list[bytes]:
    """The oldest requests of a place, at most a batch; empty when none came for a while."""
    first = client.blpop([requests_key(place)], timeout=BLOCK_SECONDS)
    if first is None:
        return []
    more = client.lpop(requests_key(place), _BATCH - 1)
    return [first[1], *(more or [])]


def _answer(client: Redis, source: Source, documents: list[bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for document in documents:
        try:
            request = ChunkRequest.model_validate_json(document)
        except ValidationError:
            log.warning("a chunk request that is none: %.200r", document)
            continue
        key = chunks_key(request.transfer)
        pipeline.rpush(key, _frame(source, request))
        pipeline.expire(key, TRANSFER_EXPIRY_SECONDS)
    pipeline.execute()


def _frame(source: Source, request: ChunkRequest) -> bytes:
    try:
        return data_frame(request.offset, source.read(request.sha256, request.offset, request.length))
    except KeyError:
        return refusal_frame(request.offset, f"no file with sha256 {request.sha256}")
    except OSError as error:
        log.warning("cannot read %s: %s", request.sha256, error)
        return refusal_frame(request.offset, f"the source cannot read {request.sha256}: {error.strerror}")
