"""How long a user waits: submit to first step on an idle warm worker, and emitted to visible."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench.embedded import Embedded, tiny_job


def submit_to_first_step(service: Embedded, *, jobs: int) -> list[float]:
    """Seconds from the POST until the metrics of step 1 have arrived, one job after the other."""
    seconds = []
    for _ in range(jobs):
        start = time.perf_counter()
        job = service.client.submit(tiny_job()).id
        for event in service.client.events(job):
            if event.type == "metrics":
                seconds.append(time.perf_counter() - start)
                break
        _wait_idle(service, job)
    return seconds


def emitted_to_visible(service: Embedded, *, steps: int) -> list[float]:
    """Seconds from the trainer's stamp on a step's metrics until a client of the event stream has them.

    One machine, one clock. The first step also waits for the new stream to be noticed.
    """
    job = service.client.submit(tiny_job(schedule={"steps": steps, "checkpoint_every": 0})).id
    return [time.time() - event.time for event in service.client.events(job) if event.type == "metrics"]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]


def report(service: Embedded) -> None:
    waits = submit_to_first_step(service, jobs=20)
    print(
        f"submit to first step, 20 jobs, idle warm worker: median {statistics.median(waits):.2f} s, "
        f"max {max(waits):.2f} s (reach: median 1.5 s)"
    )
    delays = emitted_to_visible(service, steps=300)
    print(
        f"emitted to visible, {len(delays)} steps: median {1000 * statistics.median(delays):.0f} ms, "
        f"p95 {1000 * percentile(delays, 0.95):.0f} ms (reach: p95 300 ms)"
    )


def _wait_idle(service: Embedded, job: str) -> None:
    while not service.client.get(job).status.is_terminal:
        time.sleep(0.1)
    time.sleep(
        3
    )  # the next warm child imports torch: a figure about an idle worker must not measure a busy one
