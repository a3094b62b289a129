"""A view as Prometheus reads it. docs/operations.md has the meaning of every series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.observability.database_figures import DatabaseFigures
from api.observability.observer import View
from api.observability.redis_figures import RedisFigures


class ViewCollector(Collector):
    """The families of one view. No label holds anything of a user: neither names nor ids."""

    def __init__(self, view: View, *, streams: int) -> None:
        self._view = view
        self._streams = streams

    def collect(self) -> Iterable[Metric]:
        yield from _of_service(self._view)
        yield gauge("espo_event_streams", "Live event streams of this process.", self._streams)
        if self._view.database is not None:
            yield from _of_database(self._view.database)
        if self._view.redis is not None:
            yield from _of_redis(self._view.redis)
        if self._view.hints is not None:
            hints = _by_name(self._view.hints)
            yield gauges("espo_hints_waiting", "Hints that no worker has taken.", ["resources"], hints)


def exposition(view: View, own: CollectorRegistry, *, streams: int) -> bytes:
    """The text: what the view shows of the service, and this process's own figures."""
    registry = CollectorRegistry()
    registry.register(ViewCollector(view, streams=streams))
    return generate_latest(registry) + generate_latest(own)


def _of_service(view: View) -> Iterator[Metric]:
    asked = {"database": view.database, "redis": view.redis, "broker": view.hints}
    up = {name: found is not None for name, found in asked.items()} | {"store": view.is_store_up}
    yield gauges("espo_up", "Whether a dependency answers.", ["dependency"], _by_name(up))
    ages = _by_name({name: max(found) for name, found in view.loops.items()})
    yield gauges("espo_loop_age_seconds", "Since a loop's last good round; the oldest.", ["loop"], ages)
    processes = _by_name({name: len(found) for name, found in view.loops.items()})
    yield gauges("espo_loop_processes", "Processes that run a loop.", ["loop"], processes)
    yield gauge("espo_look_seconds", "Time that the look behind these figures took.", view.seconds)


def _of_database(figures: DatabaseFigures) -> Iterator[Metric]:
    yield gauges("espo_jobs", "Jobs by status.", ["status", "resources"], figures.jobs.items())
    depth = _by_name({name: queue.depth for name, queue in figures.queues.items()})
    age = _by_name({name: queue.oldest_seconds for name, queue in figures.queues.items()})
    yield gauges("espo_queue_jobs", "Jobs that wait for an attempt.", ["resources"], depth)
    yield gauges("espo_queue_oldest_age_seconds", "How long the oldest has waited.", ["resources"], age)
    yield gauges(
        "espo_attempts_live", "Attempts that have not ended.", ["resources", "phase"], figures.live.items()
    )
    ended = CounterMetricFamily("espo_attempts", "Attempts that have ended.", labels=["outcome"])
    for outcome, count in figures.ended.items():
        ended.add_metric([outcome], count)
    yield ended
    yield gauge("espo_lease_age_seconds", "Oldest sign of life of a live attempt.", figures.lease_seconds)
    yield gauge("espo_store_bytes", "Bytes in the store.", figures.store_bytes)
    yield gauge("espo_database_bytes", "Bytes of the database.", figures.database_bytes)


def _of_redis(figures: RedisFigures) -> Iterator[Metric]:
    yield gauge("espo_ingest_lag_events", "Events sent and not yet in the database.", figures.lag.events)
    yield gauge("espo_ingest_lag_seconds", "Age of the oldest of them.", figures.lag.oldest_seconds)
    yield gauges("espo_workers", "Workers that listen.", ["device", "state"], figures.workers.items())
    yield gauge("espo_spool_bytes", "Events on the disks of workers.", figures.spool_bytes)
    yield gauge("espo_progress_age_seconds", "Longest time since a run's last step.", figures.stalled_seconds)
    uploads = _by_name(figures.uploads)
    yield gauges("espo_uploads", "Checkpoints on their way to the store.", ["state"], uploads)
    asked = _by_name(figures.credits)
    yield gauges("espo_transfer_credits", "Chunks asked for and not yet sent.", ["direction"], asked)
    yield gauge("espo_redis_memory_bytes", "Memory that Redis uses.", figures.memory_bytes)
    yield gauge("espo_redis_memory_limit_bytes", "Its bound; 0: none.", figures.memory_limit_bytes)


def gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    """A family of one sample."""
    return GaugeMetricFamily(name, meaning, value=value)


def gauges(
    name: str, meaning: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    """A family of labelled samples."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in sorted(samples):
        family.add_metric(values, value)
    return family


def _by_name(values: Mapping[str, float]) -> list[tuple[tuple[str], float]]:
    return [((name,), float(value)) for name, value in values.items()]
