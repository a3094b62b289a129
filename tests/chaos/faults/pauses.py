"""Processes that stand still for a while and then go on as if nothing had been."""

from __future__ import annotations

import contextlib
import signal
import time
from random import Random

import psutil

from espo_contracts.wire import LEASE_SECONDS
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.runs import children, some_training
from tests.chaos.stack import LOOP_PROCESSES, Stack


def worker_past_its_lease(stack: Stack, rng: Random) -> None:
    """Its attempt is given to the other worker, and when it goes on it must be refused."""
    name = some_training(stack, rng).worker
    with stack.cut_off(name), contextlib.ExitStack() as ending:
        if (
            rng.random() < 0.5
        ):  # else its run goes on without a supervisor, until the pipe between them is full
            for run in children(stack, name):
                run.suspend()
                ending.callback(_resume, run)
        with stack.stopped(name):
            time.sleep(LEASE_SECONDS + rng.uniform(3.0, 12.0))


def worker_within_its_lease(stack: Stack, rng: Random) -> None:
    with stack.stopped(stack.some_worker(rng)):
        time.sleep(rng.uniform(0.5, 5.0))


def run(stack: Stack, rng: Random) -> None:
    process = some_training(stack, rng).process
    try:
        process.suspend()
        time.sleep(rng.uniform(0.5, 4.0))
        process.resume()
    except psutil.NoSuchProcess:
        raise NothingToHarm from None


def api(stack: Stack, rng: Random) -> None:
    with stack.stopped("api"):
        time.sleep(rng.uniform(0.5, 5.0))


def loop(stack: Stack, rng: Random) -> None:
    with stack.stopped(rng.choice(LOOP_PROCESSES)):
        time.sleep(rng.uniform(0.5, 5.0))


def _resume(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


FAULTS = (
    Fault(name="worker stopped past its lease", inject=worker_past_its_lease, is_long=True),
    Fault(name="worker stopped within its lease", inject=worker_within_its_lease),
    Fault(name="run process stopped", inject=run),
    Fault(name="API stopped", inject=api),
    Fault(name="a loop stopped", inject=loop),
)
