"""Every way in which a run can end, and what the database then knows."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from redis import Redis

from espo_contracts.events import Checkpoint, Failed, FileEntry, Finished, Log, Metrics, Started
from espo_contracts.job import Desired
from espo_contracts.wire import UPLOADS_KEY, Beat, StoredFiles, beat_key
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import Supervision, spec_of
from worker import supervisor as module
from worker.supervisor import Site
from worker.wishes import Wish


def run(site: Site, api: ApiSide, deeds: str, **changes: object) -> None:
    """One attempt from its opening to its end."""
    api.start_attempt(spec_of(deeds, **changes))
    with api.running():
        Supervision(site, api).join()


def the_failure(api: ApiSide) -> Failed:
    end = api.events[-1]
    assert isinstance(end, Failed)
    return end


def test_success(site: Site, api: ApiSide) -> None:
    run(site, api, "metrics:3 finish:3")
    kinds = [type(event) for event in api.events]
    assert kinds == [Started, Metrics, Metrics, Metrics, Finished]
    assert api.events[-1] == Finished(step=3)
    assert list(site.folder.iterdir()) == []


def test_thousands_of_events_keep_their_order(site: Site, api: ApiSide) -> None:
    run(site, api, "metrics:20000 finish:20000")
    assert [event.step for event in api.events if isinstance(event, Metrics)] == list(range(1, 20001))


def test_failure_that_the_run_explains_is_final(site: Site, api: ApiSide) -> None:
    run(site, api, "print:100 fail")
    failure = the_failure(api)
    assert (failure.code, failure.hint, failure.is_retryable) == ("diverged", "Lower it.", False)
    assert failure.log_tail.splitlines()[-1] == "line 99"
    assert len(failure.log_tail.splitlines()) == 40


@pytest.mark.parametrize(
    ("deeds", "words"),
    [
        ("exit:7", "status 7"),
        ("exit:0", "status 0"),
        ("signal:9", "SIGKILL"),
        ("signal:11", "SIGSEGV"),
        ("cut", "status 3"),
        ("unknown_deed", "status 1"),
        ("rubbish hang", "no event"),
    ],
)
def test_death_without_a_word_is_retryable(site: Site, api: ApiSide, deeds: str, words: str) -> None:
    run(site, api, deeds)
    failure = the_failure(api)
    assert (failure.code, failure.is_retryable) == ("internal", True)
    assert words in failure.message


def test_flood_of_output_is_bounded(site: Site, api: ApiSide) -> None:
    run(site, api, "flood:5000000 exit:1")
    assert 1000 < len(the_failure(api).log_tail) <= 41_000


def test_killed_run_is_told_within_a_second(site: Site, api: ApiSide, tmp_path: Path) -> None:
    api.start_attempt(spec_of("pid metrics:2 hang"))
    with api.running():
        supervision = Supervision(site, api)
        pid = _pid(site)
        wait_for(lambda: len(api.events) == 3)
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: isinstance(api.events[-1], Failed)) < 1
        supervision.join()
    assert the_failure(api).is_retryable


def _pid(site: Site) -> int:
    """Process id that the run program wrote down."""
    wait_for(lambda: any(path.read_text().endswith("\n") for path in site.folder.rglob("pid")))
    return int(next(site.folder.rglob("pid")).read_text())


@pytest.mark.parametrize("deeds", ["metrics:2 hang", "ignore_term metrics:2 hang"])
def test_cancel_ends_the_run(site: Site, api: ApiSide, deeds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 1.0)
    api.start_attempt(spec_of(deeds))
    with api.running():
        supervision = Supervision(site, api)
        wait_for(lambda: len(api.events) == 3)
        api.wish(Desired.CANCEL)
        seconds = wait_for(lambda: isinstance(api.events[-1], Finished))
        supervision.join()
    assert api.events[-1] == Finished(outcome="cancelled", step=2)
    assert seconds < (2.5 if "ignore" in deeds else 1)


def test_descendants_die_with_the_run(site: Site, api: ApiSide) -> None:
    run(site, api, "grandchild:600.125 metrics:1 exit:1")
    assert [p for p in psutil.process_iter(["cmdline"]) if "600.125" in (p.info["cmdline"] or [])] == []


def test_fenced_run_ends_and_says_nothing(site: Site, api: ApiSide) -> None:
    api.start_attempt(spec_of("metrics:2 hang"))
    supervision = Supervision(site, api)
    wait_for(lambda: api.client.xlen(f"espo:run:{api.job}") == 4)
    api.start_attempt(spec_of("hang"))
    supervision.join(3)
    assert api.client.xlen(f"espo:run:{api.job}") == 1


def test_closed_attempt_ends_the_run(site: Site, api: ApiSide) -> None:
    api.start_attempt(spec_of("metrics:2 hang"))
    supervision = Supervision(site, api)
    wait_for(lambda: api.client.xlen(f"espo:run:{api.job}") == 4)
    api.close_attempt()
    supervision.join(3)


def test_time_limit(site: Site, api: ApiSide) -> None:
    begin = time.monotonic()
    run(site, api, "metrics:2 hang", resources={"max_hours": 1 / 3600})
    assert (the_failure(api).code, the_failure(api).is_retryable) == ("timeout", False)
    assert 1 <= time.monotonic() - begin < 5


def test_hand_back_does_not_wait_for_ever(site: Site, api: ApiSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAND_BACK_SECONDS", 0.5)
    api.start_attempt(spec_of("hang"))
    supervision = Supervision(site, api)  # nobody ingests
    site.shutting_down.set()
    supervision.wishes.add(Wish.HAND_BACK)
    supervision.join(4)


def test_unknown_model(site: Site, api: ApiSide) -> None:
    run(site, api, "finish", model={"name": "tiny-bass"})
    failure = the_failure(api)
    assert (failure.code, failure.is_retryable) == ("model_not_found", False)
    assert "tiny-bass" in failure.message
    assert "tiny-base" in failure.hint


def test_hub_where_it_is_not_allowed(site: Site, api: ApiSide) -> None:
    run(site, api, "finish", model={"hub": {"id": "Qwen/Qwen3-1.7B-Base"}})
    assert the_failure(api).code == "invalid_spec"


def test_checkpoints_are_stored_before_they_are_told(site: Site, api: ApiSide) -> None:
    run(site, api, "metrics:1 checkpoint:1 metrics:2 checkpoint:2 finish:2")
    checkpoints = [event for event in api.events if isinstance(event, Checkpoint)]
    assert sorted(event.step for event in checkpoints) == [1, 2]
    assert api.events[-1] == Finished(step=2)
    for entry in [entry for event in checkpoints for entry in event.files]:
        assert (api.store / entry.sha256).stat().st_size == entry.size
    assert api.client.hgetall(UPLOADS_KEY) == {}
    assert api.client.keys("espo:chunks:*") == api.client.keys("espo:requests:*") == []


def test_waiting_checkpoints_give_way_to_newer_ones(site: Site, api: ApiSide) -> None:
    api.is_storing = False
    deeds = " ".join(f"checkpoint:{step}" for step in range(1, 9))
    api.start_attempt(spec_of(f"{deeds} metrics:8 finish:8", schedule={"keep": 3}))
    with api.running():
        supervision = Supervision(site, api)
        wait_for(lambda: sum(isinstance(event, Metrics) for event in api.events) == 8)
        api.is_storing = True
        supervision.join()
    told = [event for event in api.events if isinstance(event, Checkpoint | Log)]
    assert sum(isinstance(event, Log) for event in told) == 3
    assert {8, 7, 6} <= {event.step for event in told if isinstance(event, Checkpoint)}


def test_next_attempt_resumes_from_the_stored_checkpoint(site: Site, api: ApiSide, client: Redis) -> None:
    run(site, api, "metrics:1 checkpoint:1 finish:1")
    checkpoint = next(event for event in api.events if isinstance(event, Checkpoint))
    for kept in (site.folder.parent / "cache").iterdir():
        kept.unlink()  # as on another machine
    api.start_attempt(spec_of("finish:2"), StoredFiles(files=checkpoint.files, step=1))
    with api.running():
        Supervision(site, api).join()
    assert isinstance(api.events[0], Started)
    assert api.events[0].resumed_from == 1


def test_missing_file_of_the_store_is_told(site: Site, api: ApiSide) -> None:
    run(site, api, "metrics:1 checkpoint:1 finish:1")
    checkpoint = next(event for event in api.events if isinstance(event, Checkpoint))
    lost = [entry.model_copy(update={"sha256": "0" * 64}) for entry in checkpoint.files]
    api.start_attempt(spec_of("finish:2"), StoredFiles(files=lost, step=1))
    with api.running():
        Supervision(site, api).join()
    assert "no file with sha256" in the_failure(api).message


def test_cancel_while_files_are_on_their_way(site: Site, api: ApiSide) -> None:
    files = [FileEntry(name="step.txt", size=1, sha256="0" * 64)]
    api.start_attempt(spec_of("finish:2"), StoredFiles(files=files, step=1))
    supervision = Supervision(site, api)  # nobody serves the store
    wait_for(lambda: api.client.exists("espo:requests:store"))
    api.wish(Desired.CANCEL)
    wait_for(lambda: not api.client.exists("espo:requests:store"), 2)
    with api.running():
        supervision.join(5)
    assert api.events == [Finished(outcome="cancelled", step=1)]


def test_beats(site: Site, api: ApiSide) -> None:
    api.start_attempt(spec_of("metrics:2 hang"))
    with api.running():
        supervision = Supervision(site, api)
        wait_for(lambda: api.client.exists(beat_key(api.job)))
        beat = Beat.model_validate_json(api.client.get(beat_key(api.job)))  # type: ignore[arg-type]
        supervision.wishes.add(Wish.CANCEL)
        supervision.join()
    assert (beat.worker, beat.attempt, beat.count) == ("test-1", 1, 1)
    assert beat.device
