"""`python -m tests.chaos.recovery`: how soon a killed run trains again, with nothing else going on.

One long job at a time on a stack that is otherwise healthy, and a second worker that is free. Its run process
is killed again and again at random instants, then its worker.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

from espo_contracts.wire import LEASE_SECONDS
from tests.chaos.fault import DATABASES
from tests.chaos.jobs import plan
from tests.chaos.runs import Training, await_sight, kill_run, trainings
from tests.chaos.stack import Stack, stack_on
from tests.chaos.table import spread
from tests.e2e.service import wait_until

LEAST_STEPS = 4
"""An attempt that has come so far is killed: its spare process may be warm by then, or not."""
LONG = {"steps": 100_000, "checkpoint_every": 5, "keep": 3}


def recoveries(
    stack: Stack, rng: Random, kill: Callable[[Stack, Training], None], *, times: int
) -> Iterator[float]:
    """Seconds from each death until the next attempt of the job said that it trains."""
    job = stack.submit(plan(rng.randrange(0, 10_000, 2)).document | {"schedule": LONG})
    for _ in range(times):
        _wait_for_steps(stack, job)
        time.sleep(rng.uniform(0.0, 4.0))
        training = _training_of(stack, job)
        began = time.time()
        kill(stack, training)
        yield _started(stack, job, after=training.attempt) - began
    with stack.client as client:
        client.cancel(job)
    stack.wait_finished(job)


def _wait_for_steps(stack: Stack, job: str) -> None:
    base = stack.job(job).progress.step
    wait_until(lambda: stack.job(job).progress.step >= base + LEAST_STEPS, seconds=90, what="the job gets on")


def _started(stack: Stack, job: str, *, after: int) -> float:
    """When the first attempt after a number began to train, on the worker's clock, which is ours."""

    def found() -> float | None:
        with stack.client as client:
            events = client.past_events(job, types=["started"])
            return next((event.time for event in events if (event.attempt or 0) > after), None)

    return wait_until(found, seconds=LEASE_SECONDS + 60, what="the job trains again") or 0.0


def _training_of(stack: Stack, job: str) -> Training:
    """The run process of the job's attempt of now; a worker may still be clearing up after the one before."""
    attempt = stack.job(job).attempt
    (found,) = await_sight(lambda: [one for one in trainings(stack) if one.attempt == attempt])
    return found


def _kill_worker(stack: Stack, training: Training) -> None:
    stack.kill(training.worker)
    stack.start(training.worker)


def main(arguments: Sequence[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.recovery", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20, help="run processes to kill")
    parser.add_argument("--workers", type=int, default=3, help="workers to kill")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    options = parser.parse_args(arguments)
    rng = Random(options.seed)
    with stack_on(options.database) as stack:
        stack.prepare()
        stack.start_all()
        runs = list(recoveries(stack, rng, kill_run, times=options.runs))
        print(f"a killed run process trains again after {spread(runs)}", flush=True)
        workers = list(recoveries(stack, rng, _kill_worker, times=options.workers))
        print(f"a killed worker's job trains again after {spread(workers)}; the lease is {LEASE_SECONDS:g} s")
        stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
