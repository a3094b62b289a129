"""docs/operations.md names every series that there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from api.observability.database_figures import DatabaseFigures, Queue
from api.observability.exposition import ViewCollector
from api.observability.observer import View
from api.observability.redis_figures import Lag, RedisFigures

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
OF_THE_PROCESS = {"espo_http_request_duration_seconds"}

VIEW = View(
    database=DatabaseFigures(
        jobs={("queued", "cpu"): 1},
        queues={"cpu": Queue(depth=1, oldest_seconds=2.0)},
        live={("cpu", "running"): 1},
        ended={"lost": 1},
        lease_seconds=1.0,
        store_bytes=1,
        database_bytes=1,
    ),
    redis=RedisFigures(
        lag=Lag(events=1, oldest_seconds=1.0),
        workers={("cpu", "idle"): 1},
        spool_bytes=1,
        stalled_seconds=1.0,
        uploads={"offered": 1},
        credits={"upload": 1},
        memory_bytes=1,
        memory_limit_bytes=1,
    ),
    hints={"cpu": 1},
    loops={"ingest": [0.1]},
    is_store_up=True,
    seconds=0.1,
)


def test_every_series_is_explained_with_its_labels() -> None:
    rows = dict(re.findall(r"(?m)^\| `(espo_\w+)` \| ([^|]*)\|", PAGE.read_text()))
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    shown = {
        sample.name: set(sample.labels)
        for family in ViewCollector(VIEW, streams=0).collect()
        for sample in family.samples
    }
    assert told.keys() - OF_THE_PROCESS == shown.keys()
    assert {name: told[name] for name in shown} == shown


def test_alerts_are_about_series_that_exist() -> None:
    text = PAGE.read_text()
    rows = set(re.findall(r"(?m)^\| `(espo_\w+)`", text))
    used = set(re.findall(r"\bespo_\w+", text[text.index("alert:") :]))
    assert {name.removesuffix("_count") for name in used} <= rows
