"""Two of a loop at once, as a rolling update or a mistaken operator has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from tests.chaos.fault import Fault
from tests.chaos.stack import Stack


def doubled(name: str) -> Callable[[Stack, Random], None]:
    """A second process of the loop works for a while; then it is asked to end, or killed."""

    def inject(stack: Stack, rng: Random) -> None:
        second = f"{name}-2"
        with stack.lock:
            stack.start(second)
        time.sleep(rng.uniform(5.0, 15.0))
        if rng.random() < 0.5:
            stack.kill(second)
        stack.end(second)

    return inject


FAULTS = tuple(
    Fault(name=f"two {role}s at once", inject=doubled(name), is_long=True)
    for role, name in (("dispatcher", "dispatch"), ("ingester", "ingest"), ("reconciler", "reconcile"))
)
