"""Rounds of jobs and faults on one stack, each drawn from the seed, and what was found after each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from espo_client.client import EspoClient
from tests.chaos import leftovers
from tests.chaos.clocks import unstepped
from tests.chaos.deck import Deck
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.invariants import Verdict, judge
from tests.chaos.jobs import plan
from tests.chaos.observer import Growth, Observer
from tests.chaos.stack import Stack, stack_on
from tests.chaos.user import Submitted, User
from tests.e2e.service import ROOT, wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much happens in a round."""

    jobs: int = 20
    faults: int = 60
    pause_seconds: float = 1.5
    """Mean of the time between two faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A fault that happened."""

    fault: str
    round: int
    began: float
    ended: float


@dataclass(slots=True, kw_only=True)
class Findings:
    """What a campaign on one database has seen."""

    database: str
    seed: int
    injections: list[Injection] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    run_recoveries: list[float] = field(default_factory=list)
    """Seconds from the death of a run process until its job trained again."""
    worker_recoveries: list[float] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    seconds: float = 0.0
    break_off: str = ""
    """Why the campaign could not go on."""

    @property
    def harms(self) -> list[tuple[str, str]]:
        """(kind, what) of everything that was wrong."""
        wrong = [harm for verdict in self.verdicts for harm in verdict.harms]
        broken = [("broken off", self.break_off)] if self.break_off else []
        return [*wrong, *(("leftovers", what) for what in self.leftovers), *broken]


class Campaign:
    """One stack from its start to its end."""

    def __init__(self, stack: Stack, faults: Sequence[Fault], *, seed: int, scale: Scale) -> None:
        self._stack = stack
        self._seed = seed
        self._scale = scale
        self._rng = Random(f"{seed} {stack.database_kind}")
        self._deck = Deck(faults, self._rng)
        self._observer = Observer(stack)
        self._long: threading.Thread | None = None
        self._failures: list[Exception] = []
        self.findings = Findings(database=stack.database_kind, seed=seed)

    def run(self, rounds: int) -> Findings:
        """Everything that was seen. The stack has ended afterwards."""
        began = time.monotonic()
        with self._references(rounds) as references:
            self._stack.prepare()
            self._stack.start_all()
            self._observer.start()
            for number in range(rounds):
                self._round(number, references)
            self._end()
        self.findings.seconds = time.monotonic() - began
        return self.findings

    def _first(self, number: int) -> int:
        """Seed of the first job of a round: both databases get the same jobs, two campaigns never do."""
        return self._seed * 10_000 + number * self._scale.jobs

    @contextmanager
    def _references(self, rounds: int) -> Iterator[Path]:
        """Folder where the undisturbed results appear, one after the other."""
        folder = self._stack.home / "reference"
        folder.mkdir()
        numbers = [str(self._first(0)), str(rounds * self._scale.jobs)]
        command = [sys.executable, "-m", "tests.chaos.reference", str(folder), *numbers]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            yield folder
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()

    def _round(self, number: int, references: Path) -> None:
        first = self._first(number)
        plans = [plan(seed) for seed in range(first, first + self._scale.jobs)]
        rng = Random(f"{self._seed} {number} user")
        user = User(self._stack, plans, rng, pause_seconds=self._scale.pause_seconds)
        user.start()
        self._break_things(number, user)
        user.expect_ends()
        user.join()
        if user.failure is not None:
            raise user.failure
        self._judge(user.jobs, references)
        self._say(number, user.jobs)

    def _break_things(self, number: int, user: User) -> None:
        """Injects the round's faults while there are jobs; the last long one has ended afterwards."""
        for _ in range(self._scale.faults):
            if user.has_submitted.is_set() and not user.alive():
                break
            time.sleep(self._rng.uniform(0.0, 2 * self._scale.pause_seconds))
            fault = self._deck.deal(may_be_long=self._long is None or not self._long.is_alive())
            if fault.is_long:
                self._long = threading.Thread(target=self._inject, args=(fault, number), name=fault.name)
                self._long.start()
            else:
                self._inject(fault, number)
        if self._long is not None:
            self._long.join()
        if self._failures:
            raise self._failures[0]

    def _inject(self, fault: Fault, number: int) -> None:
        began = time.time()
        try:
            fault.inject(self._stack, Random(self._rng.getrandbits(64)))
        except NothingToHarm:
            return
        except Exception as error:  # noqa: BLE001 - a fault may run in a thread; the round raises it
            error.add_note(f"while injecting: {fault.name}")
            self._failures.append(error)
            return
        self.findings.injections.append(
            Injection(fault=fault.name, round=number, began=began, ended=time.time())
        )

    def _judge(self, jobs: Sequence[Submitted], references: Path) -> None:
        with EspoClient(self._stack.base_url, self._stack.api_key) as client:
            for job in jobs:
                verdict = judge(
                    client,
                    job,
                    reference=_reference(references, job.plan.seed),
                    stays=self._observer.stays,
                    cut_offs=self._stack.cut_offs,
                )
                self.findings.verdicts.append(verdict)
                self._note_recoveries(client, job)

    def _note_recoveries(self, client: EspoClient, job: Submitted) -> None:
        starts = {event.attempt or 0: event.time for event in client.past_events(job.id, types=["started"])}

        def seconds_after(attempt: int, moment: float) -> list[float]:
            return [unstepped(starts[attempt + 1], near=moment) - moment] if attempt + 1 in starts else []

        for killed, attempt, moment in self._stack.run_kills:
            if killed == job.id and attempt in starts:
                self.findings.run_recoveries += seconds_after(attempt, moment)
        for stay in self._observer.stays:
            for name, moment in self._stack.kills:
                if stay.job == job.id and stay.worker == name and stay.began < moment < stay.ended + 0.5:
                    self.findings.worker_recoveries += seconds_after(stay.attempt, moment)

    def _say(self, number: int, jobs: Sequence[Submitted]) -> None:
        wrong = [what for verdict in self.findings.verdicts[-len(jobs) :] for what in verdict.harms]
        count = sum(injection.round == number for injection in self.findings.injections)
        where = f"{self._stack.database_kind} round {number}"
        print(f"{where}: {len(jobs)} jobs, {count} faults, {len(wrong)} harms", flush=True)
        for kind, what in wrong:
            print(f"  {kind}: {what}", flush=True)

    def _say_leftovers(self) -> None:
        for what in self.findings.leftovers:
            print(f"{self._stack.database_kind}: left over: {what}", flush=True)

    def _end(self) -> None:
        self._stack.restart("reconcile")  # its housekeeper begins with a round
        self.findings.leftovers += leftovers.after_the_jobs(self._stack)
        self._observer.close()
        self.findings.growths = self._observer.growths()
        self._stack.stop()
        self.findings.leftovers += leftovers.processes(self._stack)
        self._say_leftovers()


def run(*, database: str, seed: int, rounds: int, scale: Scale, faults: Sequence[Fault]) -> Findings:
    """What one campaign saw, until its end or until something broke it off."""
    fitting = [fault for fault in faults if database in fault.databases]
    with stack_on(database) as stack:
        campaign = Campaign(stack, fitting, seed=seed, scale=scale)
        try:
            campaign.run(rounds)
        except Exception as error:  # noqa: BLE001 - what it has seen so far is not lost, and this is part of it
            campaign.findings.break_off = "".join(traceback.format_exception(error))
            print(f"{database} broke off: {campaign.findings.break_off}", flush=True)
        if campaign.findings.harms:
            kept = _keep(stack)
            print(f"logs and data are kept in {kept}", flush=True)
    return campaign.findings


def _keep(stack: Stack) -> str:
    """A copy of the data folder, whose disks are about to be taken away, for as much as it holds still."""
    stack.destroy()
    kept = f"{stack.home}-kept"
    subprocess.run(["cp", "-a", str(stack.home), kept], check=False, capture_output=True)
    return kept


def _reference(folder: Path, seed: int) -> dict[str, Any]:
    path = folder / f"{seed}.json"
    wait_until(path.exists, seconds=600, what=f"the undisturbed result of seed {seed}")
    document: dict[str, Any] = json.loads(path.read_text())
    return document
