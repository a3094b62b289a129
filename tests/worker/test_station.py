"""Who gets an attempt."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from redis.client import PubSub

from espo_contracts.job import Desired
from espo_contracts.wire import NUDGE_CHANNEL, Hint, Presence, claim_key, job_key, worker_key
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import spec_of
from worker.settings import Settings
from worker.station import Station, claim


def hint_of(api: ApiSide) -> Hint:
    return Hint(job=api.job, attempt=api.attempt)


def test_the_first_to_claim_gets_it(api: ApiSide, client: Redis) -> None:
    api.start_attempt(spec_of("none"))
    assert claim(client, hint_of(api), "one") == api.assignment
    assert claim(client, hint_of(api), "two") is None
    assert client.get(claim_key(api.job, 1)) == b"one"


def test_an_attempt_that_redis_lost_is_given_back(api: ApiSide, client: Redis) -> None:
    api.attempt = 1
    assert claim(client, hint_of(api), "one") is None
    assert client.keys("espo:*") == []


def test_a_late_hint_of_an_older_attempt_starts_nothing(api: ApiSide, client: Redis) -> None:
    api.start_attempt(spec_of("none"))
    late = hint_of(api)
    api.start_attempt(spec_of("none"))
    assert claim(client, late, "one") is None
    assert claim(client, hint_of(api), "one") is not None


def test_hints_of_attempts_that_are_not_there_leave_no_claim(api: ApiSide, client: Redis) -> None:
    """One left behind would say of an attempt to come that somebody has it."""
    api.start_attempt(spec_of("none"))
    for hint in (Hint(job=api.job, attempt=7), Hint(job="job-" + "0" * 32, attempt=1)):
        assert claim(client, hint, "one") is None
    assert client.keys("espo:claim:*") == []


@pytest.mark.parametrize("desired", [Desired.CANCEL, Desired.PAUSE])
def test_an_attempt_that_nobody_wants_starts_nothing(api: ApiSide, client: Redis, desired: Desired) -> None:
    api.start_attempt(spec_of("none"))
    api.wish(desired)
    assert claim(client, hint_of(api), "one") is None


def test_an_attempt_that_somebody_has_is_not_taken_by_another(api: ApiSide, client: Redis) -> None:
    """Its claim may be lost: with all that Redis held, or by its age."""
    api.start_attempt(spec_of("none"))
    client.hset(job_key(api.job), "is_taken", "true")
    assert claim(client, hint_of(api), "one") is None


@pytest.mark.parametrize("job", ["../../etc", "job-1", "", "job-" + "g" * 32])
def test_a_hint_that_names_no_job_is_refused(client: Redis, job: str) -> None:
    with pytest.raises(ValueError, match="job"):
        claim(client, Hint(job=job, attempt=1), "one")


def test_a_worker_that_is_free_again_says_so(
    api: ApiSide, client: Redis, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next regular sign would come after seconds."""

    class NoRun:
        def __init__(self, *_: object) -> None: ...

        def run(self) -> None: ...

    monkeypatch.setattr("worker.station.Supervisor", NoRun)
    monkeypatch.setattr("worker.station.HEARTBEAT_SECONDS", 600.0)
    station = Station(Settings(redis_url=redis_url, home=home, worker_name="box", worker_spare=False))
    monkeypatch.setattr(station._site.nursery, "refill", lambda: None)
    api.start_attempt(spec_of("none"))
    with client.pubsub(ignore_subscribe_messages=True) as nudges:
        nudges.subscribe(NUDGE_CHANNEL)
        station.open()
        wait_for_message(nudges)
        station.train(hint_of(api))
        assert wait_for_message(nudges) == worker_key("box-1").encode()
        document = client.get(worker_key("box-1"))
    assert isinstance(document, bytes)
    assert Presence.model_validate_json(document).worker == "box-1"
    station.close()


def wait_for_message(nudges: PubSub) -> bytes:
    found: list[bytes] = []

    def look() -> bool:
        message = nudges.get_message(timeout=0.1)
        found.extend([message["data"]] if message else [])
        return bool(found)

    wait_for(look)
    return found[0]


def test_workers_of_a_machine_have_names_of_their_own(redis_url: str, home: Path) -> None:
    settings = Settings(redis_url=redis_url, home=home, worker_name="box")
    first, second = Station(settings), Station(settings)
    leftover = home / "worker" / "box-1" / "job-dead-1"
    leftover.mkdir()
    first.close()
    third = Station(settings)
    assert {path.name for path in (home / "worker").glob("box-*") if path.is_dir()} == {"box-1", "box-2"}
    assert not leftover.exists()
    second.close()
    third.close()
