"""The wall clock of one process steps by an hour, and later back again."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from tests.chaos.clocks import HOUR_SECONDS
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import LOOP_PROCESSES, WORKERS, Stack


def stepped(names: tuple[str, ...]) -> Callable[[Stack, Random], None]:
    """Forward or backward, in one of these processes."""

    def inject(stack: Stack, rng: Random) -> None:
        if stack.surroundings is None:
            raise NothingToHarm
        name, clocks = rng.choice(names), stack.surroundings.clocks
        clocks.step(name, rng.choice((-HOUR_SECONDS, HOUR_SECONDS)))
        try:
            time.sleep(rng.uniform(1.0, 6.0))
        finally:
            clocks.step(name, 0.0)

    return inject


FAULTS = (
    Fault(name="clock of the API steps", inject=stepped(("api",))),
    *(Fault(name=f"clock of {name} steps", inject=stepped((name,))) for name in LOOP_PROCESSES),
    Fault(name="clock of a worker steps", inject=stepped(WORKERS)),
)
