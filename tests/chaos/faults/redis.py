"""Redis: killed, emptied, full."""

from __future__ import annotations

import time
from random import Random

from tests.chaos.fault import Fault
from tests.chaos.stack import Stack


def restarted_with_its_data(stack: Stack, rng: Random) -> None:
    stack.redis.kill()
    time.sleep(rng.uniform(0.0, 4.0))
    stack.redis.start()


def restarted_empty(stack: Stack, rng: Random) -> None:
    stack.redis.kill()
    stack.redis.forget()
    time.sleep(rng.uniform(0.0, 4.0))
    stack.redis.start()


def emptied(stack: Stack, rng: Random) -> None:
    """All keys go at once, and every connection stays: nobody gets an error to act on."""
    time.sleep(rng.uniform(0.0, 2.0))
    with stack.connect() as client:
        client.flushall()


def refuses_writes(stack: Stack, rng: Random) -> None:
    """It is at its memory bound and evicts nothing."""
    with stack.connect() as client:
        client.config_set("maxmemory", 1)
        try:
            time.sleep(rng.uniform(1.0, 6.0))
        finally:
            client.config_set("maxmemory", 0)


FAULTS = (
    Fault(name="Redis killed, restarted with its data", inject=restarted_with_its_data, weight=2),
    Fault(name="Redis killed, restarted empty", inject=restarted_empty, weight=2),
    Fault(name="Redis emptied", inject=emptied),
    Fault(name="Redis refuses writes at its memory bound", inject=refuses_writes, weight=2),
)
