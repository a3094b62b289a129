"""A run that must make room: it saves, and what it saved is stored before its end is told."""

from __future__ import annotations

import dataclasses

import pytest

from espo_contracts.events import Checkpoint, Event, Failed, Finished, Metrics
from espo_contracts.job import Desired
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import Supervision, spec_of
from worker.supervisor import Site
from worker.wishes import Wish

SAVES = "metrics:2 until_told metrics:3 checkpoint:3 hand_back:3"


def ask(wish: Wish, supervision: Supervision, api: ApiSide) -> None:
    """As the worker's signal does, or the user by the attempt's hash."""
    if wish is Wish.HAND_BACK:
        supervision.wishes.add(wish)
    else:
        api.wish({Wish.PAUSE: Desired.PAUSE, Wish.CANCEL: Desired.CANCEL}[wish])


def has_measured(api: ApiSide, step: int) -> bool:
    return any(isinstance(event, Metrics) and event.step == step for event in api.events)


def stopped(site: Site, api: ApiSide, deeds: str, *wishes: Wish) -> list[Event]:
    """The events of a run of which others want something once it has done two steps."""
    api.start_attempt(spec_of(deeds))
    with api.running():
        supervision = Supervision(site, api)
        wait_for(lambda: has_measured(api, 2))
        for wish in wishes:
            ask(wish, supervision, api)
        supervision.join()
    return api.events


@pytest.mark.parametrize(("wish", "outcome"), [(Wish.HAND_BACK, "handed_back"), (Wish.PAUSE, "paused")])
def test_what_it_saved_is_stored_before_its_end_is_told(
    site: Site, api: ApiSide, wish: Wish, outcome: str
) -> None:
    *_, saved, end = stopped(site, api, SAVES, wish)
    assert isinstance(saved, Checkpoint)
    assert saved.step == 3
    assert all((api.store / entry.sha256).exists() for entry in saved.files)
    assert isinstance(end, Finished)
    assert (end.outcome, end.step) == (outcome, 3)
    assert list(site.folder.iterdir()) == []


@pytest.mark.parametrize(("wish", "outcome"), [(Wish.HAND_BACK, "handed_back"), (Wish.PAUSE, "paused")])
@pytest.mark.parametrize("deeds", ["metrics:2 hang", "ignore_term metrics:2 checkpoint:2 hang"])
def test_a_step_that_takes_too_long_is_given_up(
    site: Site, api: ApiSide, wish: Wish, outcome: str, deeds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.supervisor.GRACE_SECONDS", 0.5)
    end = stopped(dataclasses.replace(site, stop_seconds=0.5), api, deeds, wish)[-1]
    assert end == Finished(outcome=outcome, step=2)


def test_a_run_without_a_step_of_its_own_has_nothing_to_save(site: Site, api: ApiSide) -> None:
    api.start_attempt(spec_of("hang"))
    with api.running():
        supervision = Supervision(site, api)
        wait_for(lambda: len(api.events) == 1)
        supervision.wishes.add(Wish.HAND_BACK)
        supervision.join(5)
    assert api.events[-1] == Finished(outcome="handed_back", step=0)


@pytest.mark.parametrize("first", [Wish.HAND_BACK, Wish.PAUSE])
def test_a_cancel_does_not_wait_for_the_saving(site: Site, api: ApiSide, first: Wish) -> None:
    assert stopped(site, api, "metrics:2 hang", first, Wish.CANCEL)[-1] == Finished(
        outcome="cancelled", step=2
    )


def test_a_store_that_is_away_holds_the_worker_only_so_long(site: Site, api: ApiSide) -> None:
    api.is_storing = False
    events = stopped(dataclasses.replace(site, stop_seconds=1.0), api, SAVES, Wish.HAND_BACK)
    assert events[-1] == Finished(outcome="handed_back", step=3)
    assert not any(isinstance(event, Checkpoint) for event in events)


@pytest.mark.parametrize("wish", [Wish.HAND_BACK, Wish.PAUSE])
def test_a_run_that_was_at_its_end_has_ended(site: Site, api: ApiSide, wish: Wish) -> None:
    *_, saved, end = stopped(site, api, "metrics:2 until_told metrics:3 checkpoint:3 finish:3", wish)
    assert isinstance(saved, Checkpoint)
    assert end == Finished(step=3)


def test_a_run_whose_last_checkpoint_is_not_stored_has_not_ended(site: Site, api: ApiSide) -> None:
    api.is_storing = False
    short = dataclasses.replace(site, stop_seconds=0.5)
    events = stopped(short, api, "metrics:2 until_told checkpoint:3 finish:3", Wish.PAUSE)
    assert events[-1] == Finished(outcome="paused", step=3)


def test_why_a_run_failed_is_told_though_it_was_to_stop(site: Site, api: ApiSide) -> None:
    end = stopped(site, api, "metrics:2 until_told fail", Wish.PAUSE)[-1]
    assert isinstance(end, Failed)
    assert end.code == "diverged"


def test_a_crash_on_the_way_is_no_failure(site: Site, api: ApiSide) -> None:
    end = stopped(site, api, "metrics:2 until_told exit:3", Wish.HAND_BACK)[-1]
    assert end == Finished(outcome="handed_back", step=2)
