"""A job's events as they happen: server-sent events that go on where a broken connection stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import httpx_sse

from espo_client.records import Event
from espo_client.transport import ATTEMPTS, Transport, wait_seconds


def follow(transport: Transport, path: str, *, after: int, is_over: Callable[[], bool]) -> Iterator[Event]:
    """Every event after number `after`, each once, in order, until the stream closes and `is_over()`.

    Raises:
        EspoApiError: the service refused.
        EspoConnectionError: several connections in a row brought nothing.
    """
    cursor, failures = after, 0
    while True:
        error: httpx.TransportError | None = None
        before = cursor
        try:
            for event in _connection(transport, path, cursor):
                cursor = event.number
                yield event
        except httpx.TransportError as broken:
            error = broken
        if error is None and cursor == before and is_over():
            return
        failures = failures + 1 if cursor == before else 0
        if error is not None and failures >= ATTEMPTS:
            raise transport.unreachable(error)
        if failures:
            time.sleep(wait_seconds(failures))


def _connection(transport: Transport, path: str, cursor: int) -> Iterator[Event]:
    """The events of one connection. Entries without an id are no events of the job."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Last-Event-ID": str(cursor)}
    with transport.stream("GET", path, headers=headers) as response:
        for entry in httpx_sse.EventSource(response).iter_sse():
            if entry.id and entry.data:
                yield Event.model_validate_json(entry.data)
