"""The local service on embedded defaults: a Redis-compatible server, the API and one worker, in this order.

Everything runs below this process and ends with it, also when it is killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx

from espo_client.errors import EspoClientError, ServiceError
from espo_client.home import has_application
from espo_client.services import address, key, lock, plan, redis_server
from espo_client.services.child import Child, Command

READY_SECONDS = 60.0
TICK_SECONDS = 0.2
Say = Callable[[str], None]


class StoppedError(EspoClientError):
    """The user asked for the end before everything was up."""


class Services:
    """The children, started in order and stopped in the reverse order."""

    def __init__(self, *, home: Path, lock: int, stop: threading.Event) -> None:
        self._logs = home / "logs"
        self._lock = lock
        self._stop = stop
        self._children: list[Child] = []

    def start(self, command: Command) -> None:
        child = Child(command, logs=self._logs, lock=self._lock)
        self._children.append(child)
        child.start()

    def wait_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Returns when `is_ready`.

        Raises:
            ServiceError: a child died or the time is up; with the end of its log.
            StoppedError: on a signal.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if self._stop.wait(TICK_SECONDS):
                raise StoppedError("Stopped.")
            dead = next((child for child in self._children if child.exit_code is not None), None)
            if dead is not None:
                raise ServiceError(
                    f"{what}: {dead.command.name} ended with code {dead.exit_code}.{_end(dead)}"
                )
            if time.monotonic() > deadline:
                raise ServiceError(f"{what}: not within {READY_SECONDS:g} s.{_end(self._children[-1])}")

    def tend(self, say: Say) -> None:
        """Keeps everything running until a signal."""
        while not self._stop.wait(TICK_SECONDS):
            for child in self._children:
                message = child.tend()
                if message:
                    say(message)

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()


def up(home: Path, *, may_move: bool, say: Say) -> None:
    """Serves until Ctrl-C or SIGTERM. `may_move`: another port than `ESPO_API_PORT` will do.

    Raises:
        ServiceError: it could not start; the text says what to do.
    """
    if not has_application():
        raise ServiceError("`espo up` runs from a clone of the repository: the wheel holds only the client.")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.hold(home) as descriptor, _signals() as stop:
        services = Services(home=home, lock=descriptor, stop=stop)
        try:
            _start(services, home, descriptor, may_move=may_move, say=say)
            services.tend(say)
        except StoppedError:
            pass
        finally:
            say("Stopping the worker, the API and Redis …")
            services.stop()


def _start(services: Services, home: Path, descriptor: int, *, may_move: bool, say: Say) -> None:
    lock.announce(descriptor, lock.Running(pid=os.getpid(), base_url=""))
    redis = None if os.environ.get("ESPO_REDIS_URL") else redis_server.plan(home)
    environment = plan.environment(home, redis)
    if redis is not None:
        services.start(plan.redis_command(redis, environment))
        services.wait_until(redis.answers, "Redis did not start")
    place = address.choose(may_move=may_move)
    if place.note:
        say(place.note)
    services.start(plan.api_command(place, environment))
    services.start(plan.worker_command(environment))
    services.wait_until(lambda: _is_ready(place.base_url), "The services did not become ready")
    is_new = key.ensure(home, base_url=place.base_url, environment=environment)
    lock.announce(descriptor, lock.Running(pid=os.getpid(), base_url=place.base_url))
    _welcome(home, place.base_url, is_new=is_new, say=say)


def _welcome(home: Path, base_url: str, *, is_new: bool, say: Say) -> None:
    say(f"ESPO is up at {base_url} (documentation: {base_url}/docs)")
    say(f"{'New API key' if is_new else 'API key'} in {_short(home / 'credentials.json')}; `espo` reads it.")
    say(f"Logs in {_short(home / 'logs')}. Ctrl-C stops everything.")


def _short(path: Path) -> str:
    """The path as seen from here, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _is_ready(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/readyz", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _end(child: Child) -> str:
    tail = child.log_tail()
    return f"\nThe end of {_short(child.log)}:\n{tail}" if tail else f" Its log, {child.log}, is empty."


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that is set by the first signal to stop; further signals cannot interrupt the stopping."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
