"""A job's events as they happen: server-sent events that go on where a broken connection stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse

from espo_client.pages import pages
from espo_client.records import Event, Job
from espo_client.transport import Transport

POLL_SECONDS = 1.0


class _Ended(Exception):  # noqa: N818 (no error: the stream's last word)
    """The service said that nothing will follow."""


def follow(transport: Transport, job_id: str, *, after: int, types: list[str]) -> Iterator[Event]:
    """Every event after number `after`, each once and in order, until the job has ended; `types`: only these.

    Raises:
        EspoApiError: the service refused.
        EspoConnectionError: it stayed away too long.
    """
    cursor, patience = after, transport.patience()
    while True:
        before, error = cursor, None
        try:
            for event in _connection(transport, job_id, cursor, types):
                cursor = event.id
                yield event
        except _Ended:
            return
        except httpx_sse.SSEError:
            # Something between us and the service cannot stream.
            yield from _poll(transport, job_id, cursor, types)
            return
        except httpx.TransportError as broken:
            error = broken
        if cursor > before or error is None:
            patience = transport.patience()
        if not patience.wait() and error is not None:
            raise transport.unreachable(error)


def _connection(transport: Transport, job_id: str, cursor: int, types: list[str]) -> Iterator[Event]:
    """The events of one connection.

    Raises:
        _Ended: the service said so.
    """
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Last-Event-ID": str(cursor)}
    path, parameters = f"/v1/jobs/{job_id}/events", {"types": types}
    with transport.stream("GET", path, headers=headers, params=parameters) as response:
        for entry in httpx_sse.EventSource(response).iter_sse():
            if entry.event == "end":
                raise _Ended
            # A heartbeat comes out of the decoder as an entry without data.
            if entry.data:
                yield Event.model_validate_json(entry.data)


def _poll(transport: Transport, job_id: str, cursor: int, types: list[str]) -> Iterator[Event]:
    """The same events, asked for once a second."""
    path = f"/v1/jobs/{job_id}"
    while True:
        # The status first: what came before an end is then in the pages.
        job = Job.model_validate_json(transport.request("GET", path).content)
        parameters: dict[str, Any] = {"after": cursor, "types": types}
        for event in pages(transport, f"{path}/events", Event, parameters=parameters):
            cursor = event.id
            yield event
        if job.status.is_terminal:
            return
        time.sleep(POLL_SECONDS)
