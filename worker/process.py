"""The run's process: started warm, given its order, listened to, ended with all its descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from pydantic import ValidationError

from espo_contracts.events import EVENT, Event
from worker.order import RunOrder

CHILD = (sys.executable, "-m", "worker.child")
SCRATCH = "ESPO_SCRATCH"
"""Environment variable with the folder under which a run process makes its scratch folder."""
TAIL_LINES, TAIL_LINE_BYTES = 40, 1000
MAX_EVENT_BYTES = 4 << 20
_PIPE_SECONDS = 5.0
_REPOSITORY = Path(__file__).resolve().parent.parent


class RunProcess:
    """A run process from its start to its end; for one order only."""

    def __init__(self, command: Sequence[str] = CHILD, environment: Mapping[str, str] | None = None) -> None:
        reading, writing = os.pipe()
        self._events = os.fdopen(reading, "rb")
        try:
            self._process = subprocess.Popen(
                [*command, str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[writing],
                env=environment,
                cwd=_REPOSITORY,  # where `-m worker.child` is found
                # A group of its own: Ctrl-C in our terminal is ours to handle, and its end takes all with it.
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self._input = cast(IO[bytes], self._process.stdin)
        self._output = cast(IO[bytes], self._process.stdout)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._threads = [self._start_thread(self._keep_tail)]
        self.protocol_error: str | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def log_tail(self) -> str:
        """The last lines of standard output and error."""
        return "\n".join(self._tail)

    def begin(self, order: RunOrder, on_event: Callable[[Event], None]) -> None:
        """Hand the order over; `on_event` is called in another thread, and its slowness slows the run."""
        self._threads.append(self._start_thread(lambda: self._listen(on_event)))
        with contextlib.suppress(BrokenPipeError):  # it is dead already, as its exit status will tell
            self._input.write(order.model_dump_json().encode() + b"\n")
            self._input.flush()

    def terminate(self, grace_seconds: float) -> None:
        """Ask it to end, and end it after `grace_seconds`."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        self.close()

    def close(self) -> None:
        """End it and everything it started; afterwards every event that it wrote has been handled."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(_PIPE_SECONDS)
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._events.close()

    def _signal(self, number: signal.Signals) -> None:
        """To the whole group: its descendants outlive a leader that died first."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _start_thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True, name=f"run-{self._process.pid}")
        thread.start()
        return thread

    def _keep_tail(self) -> None:
        with self._output:
            while line := self._output.readline(TAIL_LINE_BYTES):
                self._tail.append(line.decode(errors="replace").rstrip("\n"))

    def _listen(self, on_event: Callable[[Event], None]) -> None:
        while line := self._events.readline(MAX_EVENT_BYTES):
            if not line.endswith(b"\n"):
                break  # cut off by its death, or no event at all
            try:
                event = EVENT.validate_json(line)
            except ValidationError as error:
                self.protocol_error = f"the run told something that is no event: {error}"
                break
            on_event(event)
        if self._process.poll() is None and line:
            self._signal(signal.SIGKILL)
