"""Users, dispatcher, workers, ingester, reconciler and a Redis that forgets, in any order: real loops, a real
Valkey, both databases, against a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from espo_contracts.events import Event, Failed
from espo_contracts.job import TRANSITIONS, FailureCode, JobStatus
from espo_contracts.wire import LEASE_SECONDS
from tests.api.loops.actors import HandWorker
from tests.api.loops.house import House, Seen
from tests.api.loops.job_model import JobModel
from tests.api.loops.samples import STARTED, checkpoint, ended, metrics, resumed

WISHES = st.sampled_from(["cancel", "pause", "resume", "retry"])
OUTCOMES = st.sampled_from(["succeeded", "cancelled", "paused", "handed_back"])
PLACES = st.integers(0, 2)
MOST_JOBS = 4
EXAMPLES = 20


@dataclass(slots=True, kw_only=True)
class Case:
    """A job, its model, and the workers that ever had an attempt of it, the newest last."""

    id: str
    model: JobModel
    workers: list[HandWorker] = field(default_factory=list)
    is_untold: bool = False
    """Redis may not know yet that an attempt has ended."""
    step: int = 0
    saved: int | None = None

    @property
    def holder(self) -> HandWorker | None:
        """The worker of the live attempt."""
        newest = self.workers[-1] if self.workers else None
        is_holding = newest is not None and self.model.is_live and newest.attempt == self.model.attempt
        return newest if is_holding else None

    @property
    def runner(self) -> HandWorker | None:
        """The worker whose run has begun."""
        return self.holder if self.model.status == "running" else None

    @property
    def stale(self) -> list[HandWorker]:
        """Workers that had an attempt which is over."""
        return [worker for worker in self.workers if worker is not self.holder]


def where(fits: Callable[[Case], object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Only while there is a case that fits."""
    return precondition(lambda walk: any(map(fits, walk.cases)))


def has_room(walk: Walk) -> bool:
    """Two at a time, but one that has succeeded is out of the game."""
    return len(walk.cases) < MOST_JOBS and sum(not case.model.has_succeeded for case in walk.cases) < 2


class Walk(RuleBasedStateMachine):
    """Nobody who acts on a job waits for the others."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house, self.do = house, house.run
        self.cases: list[Case] = []
        self.do(house.clear())

    def case(self, place: int, fits: Callable[[Case], object] = bool) -> Case:
        """One of the cases that fit."""
        fitting = [case for case in self.cases if fits(case)]
        return fitting[place % len(fitting)]

    # Users

    @initialize()
    def a_first_job(self) -> None:
        self.add(self.do(self.house.submit()))

    @precondition(has_room)
    @rule()
    def a_user_clones(self) -> None:
        self.add(self.do(self.house.clone(self.cases[0].id)))

    def add(self, job_id: str) -> None:
        attempts = self.house.settings.max_attempts
        self.cases.append(Case(id=job_id, model=JobModel(fresh_attempts=attempts)))

    @rule(place=PLACES, wish=WISHES, is_told=st.booleans())
    def a_user_wishes(self, place: int, wish: str, is_told: bool) -> None:
        case = self.case(place)
        case.is_untold = case.is_untold or not is_told
        assert self.do(self.house.wish(case.id, wish, is_told=is_told)) == case.model.wish(wish)

    # The house

    @rule()
    def the_dispatcher_looks(self) -> None:
        self.do(self.house.dispatch())
        for case in self.cases:
            if case.model.status == "queued" and not case.model.is_live:
                case.model.open()
                case.is_untold = False

    @rule()
    def the_reconciler_looks(self) -> None:
        self.do(self.house.tick())
        for case in self.cases:
            case.is_untold = False
            case.model.is_seen |= case.holder is not None and case.holder.beats > 0

    @rule()
    def a_lease_passes(self) -> None:
        self.the_reconciler_looks()
        self.do(self.house.tick(seconds=LEASE_SECONDS + 1))
        for case in self.cases:
            if case.model.is_live and (case.model.is_seen or case.model.is_claimed):
                case.model.fail(is_retryable=True)

    @rule()
    def redis_forgets(self) -> None:
        self.do(self.house.forget())
        for case in self.cases:
            case.is_untold = False
            if case.model.is_live and not case.model.is_seen:
                case.model.be_replaced()
            elif case.holder is not None:
                self.do(case.holder.resend())

    # Workers

    @where(lambda case: case.model.attempt)
    @rule(place=PLACES, is_late=st.booleans())
    def a_hint_arrives(self, place: int, is_late: bool) -> None:
        case = self.case(place, lambda case: case.model.attempt)
        self.take(case, max(1, case.model.attempt - is_late))

    def take(self, case: Case, number: int) -> None:
        worker = self.do(self.house.claim(case.id, number))
        is_free = number == case.model.attempt and case.model.is_free
        assert (worker is not None) == is_free or (case.is_untold and not case.model.is_live)
        if worker is not None:
            assert number not in [other.attempt for other in case.workers], "one attempt in two hands"
            case.workers.append(worker)
            case.model.is_claimed |= is_free

    @where(lambda case: case.model.status == "queued")
    @rule(place=PLACES)
    def a_job_gets_going(self, place: int) -> None:
        case = self.case(place, lambda case: case.model.status == "queued")
        self.the_dispatcher_looks()
        if case.model.is_free:
            self.take(case, case.model.attempt)
        if case.holder is not None:
            self.begin(case)

    @where(lambda case: case.holder)
    @rule(place=PLACES)
    def a_worker_beats(self, place: int) -> None:
        holder = self.case(place, lambda case: case.holder).holder
        assert holder is not None
        self.do(holder.beat())

    @where(lambda case: case.holder and not case.runner)
    @rule(place=PLACES)
    def a_run_begins(self, place: int) -> None:
        self.begin(self.case(place, lambda case: case.holder and not case.runner))

    def begin(self, case: Case) -> None:
        assert case.holder is not None
        assignment = self.do(case.holder.assignment())
        assert (assignment.resume and assignment.resume.step) == case.saved
        self.say(case, STARTED if case.saved is None else resumed(case.saved))
        case.model.start()
        case.step = case.saved or 0

    @where(lambda case: case.runner)
    @rule(place=PLACES, is_saved=st.booleans())
    def a_run_does_a_step(self, place: int, is_saved: bool) -> None:
        case = self.case(place, lambda case: case.runner)
        case.step += 1
        self.say(case, metrics(case.step))
        if is_saved:
            self.say(case, checkpoint(case.step, "a" * 64))
            case.saved = case.step

    @where(lambda case: case.holder)
    @rule(place=PLACES, outcome=OUTCOMES)
    def a_run_finishes(self, place: int, outcome: str) -> None:
        case = self.case(place, lambda case: case.holder)
        self.say(case, ended(outcome))
        case.model.finish(outcome)

    @where(lambda case: case.holder)
    @rule(place=PLACES, is_retryable=st.booleans())
    def a_run_fails(self, place: int, is_retryable: bool) -> None:
        case = self.case(place, lambda case: case.holder)
        self.say(case, Failed(code=FailureCode.INTERNAL, message="x", is_retryable=is_retryable))
        case.model.fail(is_retryable=is_retryable)

    def say(self, case: Case, event: Event) -> None:
        assert case.holder is not None
        assert self.do(self.house.say(case.holder, event))

    @where(lambda case: case.stale)
    @rule(place=PLACES)
    def a_worker_speaks_whose_attempt_is_over(self, place: int) -> None:
        case = self.case(place, lambda case: case.stale)
        before = self.do(self.house.look(case.id)).job.event_count
        is_sent = self.do(self.house.say(case.stale[-1], ended("succeeded")))
        assert not is_sent or case.is_untold
        assert self.do(self.house.look(case.id)).job.event_count == before

    @invariant()
    def laws_hold(self) -> None:
        for case in self.cases:
            seen = self.do(self.house.look(case.id))
            assert seen.state == case.model.state
            check_rows(seen)
            check_log(seen)
            if not (case.model.is_live or case.is_untold):
                assert seen.lasting_keys == []


def check_rows(seen: Seen) -> None:
    job, status = seen.job, JobStatus(seen.job.status)
    assert [attempt.number for attempt in seen.attempts] == list(range(1, job.attempt + 1))
    assert (job.finished_at is not None) == status.is_terminal
    assert (job.error is not None) == (status is JobStatus.FAILED)
    effective = [row.step for row in seen.events if row.type == "metrics" and not row.is_superseded]
    assert effective == list(range(1, len(effective) + 1)), "a gap or a double"


def check_log(seen: Seen) -> None:
    assert [event.number for event in seen.events] == list(range(1, seen.job.event_count + 1))
    previous = None
    for state in (event.data for event in seen.events if event.type == "state"):
        assert state["previous"] == previous
        now = JobStatus(state["status"])
        assert previous is None or now == previous or now in TRANSITIONS[JobStatus(previous)]
        previous = state["status"]
    assert previous == seen.job.status


@pytest.mark.slow
def test_whatever_happens_the_job_is_as_the_model_has_it(house: House) -> None:
    run_state_machine_as_test(
        lambda: Walk(house),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            derandomize=True,
            phases=[Phase.generate],  # to make a failure shorter takes minutes, and it has 25 steps at most
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
