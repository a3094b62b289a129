"""The network between a worker and Redis: cut, silent, slow, in pieces, half closed; healed in the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from random import Random

from espo_contracts.wire import LEASE_SECONDS
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.proxy import Proxy
from tests.chaos.runs import some_training
from tests.chaos.stack import Stack


def past_the_lease(stack: Stack, rng: Random) -> None:
    """The worker's attempt is given to another; when it can be heard again it must be refused."""
    name = some_training(stack, rng).worker
    break_it = rng.choice([Proxy.cut, Proxy.black_hole])
    with stack.cut_off(name), _healed(_proxy(stack, name)) as proxy:
        break_it(proxy)
        time.sleep(LEASE_SECONDS + rng.uniform(3.0, 12.0))


def for_a_while(break_it: Callable[[Proxy], None], *, most_seconds: float) -> Callable[[Stack, Random], None]:
    """So short that nothing may be given away."""

    def inject(stack: Stack, rng: Random) -> None:
        with _healed(_proxy(stack, stack.some_worker(rng))) as proxy:
            break_it(proxy)
            time.sleep(rng.uniform(0.3, most_seconds))

    return inject


def at_once(break_it: Callable[[Proxy], None]) -> Callable[[Stack, Random], None]:
    """The connections that are open now; new ones are whole."""

    def inject(stack: Stack, rng: Random) -> None:
        break_it(_proxy(stack, stack.some_worker(rng)))

    return inject


def slow(stack: Stack, rng: Random) -> None:
    with _healed(_proxy(stack, stack.some_worker(rng))) as proxy:
        proxy.delay(rng.uniform(0.02, 0.4))
        time.sleep(rng.uniform(1.0, 5.0))


def _proxy(stack: Stack, worker: str) -> Proxy:
    if stack.surroundings is None:
        raise NothingToHarm
    return stack.surroundings.proxies[worker]


@contextlib.contextmanager
def _healed(proxy: Proxy) -> Iterator[Proxy]:
    try:
        yield proxy
    finally:
        proxy.heal()


FAULTS = (
    Fault(name="network cut for longer than the lease", inject=past_the_lease, is_long=True),
    Fault(name="network cut", inject=for_a_while(Proxy.cut, most_seconds=5.0)),
    Fault(name="network silent", inject=for_a_while(Proxy.black_hole, most_seconds=8.0)),
    Fault(name="network in single bytes", inject=for_a_while(Proxy.split, most_seconds=5.0)),
    Fault(name="network slow", inject=slow),
    Fault(name="connections half closed", inject=at_once(Proxy.half_close)),
    Fault(name="connections reset", inject=at_once(Proxy.reset)),
)
