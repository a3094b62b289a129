"""What the API process costs: time to import, memory after work."""

from __future__ import annotations

import statistics
import subprocess
import sys

from bench.embedded import Embedded, tiny_job

PROGRAM = "import time; start = time.perf_counter(); import api.app; print(time.perf_counter() - start)"


def import_seconds(runs: int = 5) -> list[float]:
    """Seconds that `import api.app` takes in fresh interpreters, after one to warm the file cache."""

    def once() -> float:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        return float(done.stdout)

    once()
    return [once() for _ in range(runs)]


def resident_mb_after_work(service: Embedded, *, polls: int = 300) -> float:
    """Resident MB of the API process after a job, its metrics polled, its checkpoint listed."""
    job = service.client.submit(tiny_job(schedule={"steps": 50, "checkpoint_every": 10})).id
    for _ in service.client.events(job):
        pass
    for _ in range(polls):
        service.client.metrics(job)
    service.client.checkpoints(job)
    return float(service.child("api.app:create_app").memory_info().rss) / 1e6


def report(service: Embedded) -> None:
    times = import_seconds()
    print(f"import of api.app: median {statistics.median(times):.2f} s (reach: 1.5 s)")
    print(f"API process after a job and 300 polls: {resident_mb_after_work(service):.0f} MB (reach: 150 MB)")
