"""What the API costs as a process, and how it stops."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.api.process import Process, api_process
from tests.api.rows import job_document

MOST_MEGABYTES = 150


@pytest.mark.slow
def test_it_stays_small_and_stops_at_once_while_a_stream_is_open(home: Path, redis_url: str) -> None:
    with api_process(home, redis_url) as process:
        _use_and_stop(process)


def _use_and_stop(process: Process) -> None:
    client = process.client
    job_id = client.post("/v1/jobs", json=job_document()).json()["id"]
    for path in ("/v1/jobs", "/v1/algorithms", "/v1/models", "/openapi.json", "/metrics"):
        for _ in range(20):
            assert client.get(path).status_code == 200
    assert process.megabytes <= MOST_MEGABYTES
    headers = {"accept": "text/event-stream"}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: state"
        start = time.monotonic()
        process.running.send_signal(signal.SIGTERM)
        assert list(lines)[-1] == ""
    process.running.wait(10)
    assert time.monotonic() - start < 5
