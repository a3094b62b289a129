"""Bounded evaluation of what can hang: one child process, used from any thread, replaced when it dies.

A time limit by signal works only in the main thread, and no thread can be stopped inside C code (`re`, big
integers); a process can. A request costs about 0.1 ms beyond its work.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue

import espo_core
from espo_core.errors import VerifierError
from espo_core.verifiers.base import CUT_OFF, UNVERIFIED, Verdict

MAX_TEXT = 1_000_000
"""Longer completions get no verdict from a sandboxed verifier."""
# The child counts CPU time, so that a busy machine changes no verdict. This wall-clock bound is only for a
# child that is stopped or swapped out.
WALL_SECONDS = 60.0
# An allow-list: the child handles untrusted text, and this process's keys and addresses are not its business.
ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
# The order of sets of strings, which some generated tasks walk through, must not differ between processes; a
# thread of OpenBLAS for each core would use up the address space of a large machine.
SETTINGS = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
MAX_REPLY = 64 << 20


class CutOffError(Exception):
    """A request used up its time or memory."""


class Sandbox:
    """Holds the child process; starts it at the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._owner = 0

    def judge(self, kind: str, *, cpu_seconds: float, **arguments: Any) -> Verdict:
        """Returns the child's verdict: true, false, or a score, which is moved into [0, 1].

        Raises:
            VerifierError: As `ask`.
        """
        try:
            answer = self.answer(kind, cpu_seconds=cpu_seconds, **arguments)
        except CutOffError:
            return CUT_OFF
        if not isinstance(answer, bool | int | float) or not math.isfinite(answer):
            return UNVERIFIED
        return Verdict(score=min(1.0, max(0.0, float(answer))), verified=True)

    def ask(self, kind: str, *, cpu_seconds: float, **arguments: Any) -> JsonValue:
        """Returns what the child answers, or None where it came to no answer within its CPU seconds.

        Raises:
            VerifierError: The kind cannot work at all: a library is missing or broken, or no process starts.
        """
        try:
            return self.answer(kind, cpu_seconds=cpu_seconds, **arguments)
        except CutOffError:
            return None

    def answer(self, kind: str, *, cpu_seconds: float, **arguments: Any) -> JsonValue:
        """Returns what the child answers, or None where it can make nothing of the request.

        Raises:
            CutOffError: It used up its CPU seconds or its memory.
            VerifierError: As `ask`.
        """
        request = json.dumps({"kind": kind, "cpu_seconds": cpu_seconds, **arguments}) + "\n"
        with self._lock:
            try:
                reply = self._exchange(request.encode())
            except OSError as error:
                self._stop()
                raise CutOffError(str(error)) from error
            except BaseException:
                # Ctrl-C while waiting: the answer that is still to come must not be taken for the next one's.
                self._stop()
                raise
        return _answer(reply)

    def close(self) -> None:
        """Ends the child process."""
        with self._lock:
            self._stop()

    def _exchange(self, request: bytes) -> dict[str, JsonValue]:
        connection = self._connected()
        connection.sendall(request)
        return self._received(connection)

    def _received(self, connection: socket.socket) -> dict[str, JsonValue]:
        """A line from the child."""
        reply = bytearray()
        while not reply.endswith(b"\n"):
            piece = connection.recv(65_536)
            if not piece:
                raise ConnectionResetError(
                    "the sandbox process died: its request took too long or too much memory"
                )
            reply += piece
            if len(reply) > MAX_REPLY:
                raise ConnectionResetError("the sandbox process answers without end")
        return cast("dict[str, JsonValue]", json.loads(reply))

    def _connected(self) -> socket.socket:
        # After a fork the connection belongs to the parent: sharing it would mix up answers.
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = self._start(), os.getpid()
            self._greet(self._connection)
        return self._connection

    def _greet(self, connection: socket.socket) -> None:
        """Waits for the child's first line: one that cannot start must not pass for verdicts that failed."""
        try:
            self._received(connection)
        except OSError as error:
            raise VerifierError(
                "the sandbox process, in which verifiers run, does not start",
                hint="Run `python -m espo_core.sandboxed` and read what it says; it needs memory to start.",
            ) from error

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "espo_core.sandboxed"]
        with theirs:
            self._child = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        ours.settimeout(WALL_SECONDS)
        return ours

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._child is not None and self._owner == os.getpid():
            self._child.kill()
            self._child.wait()
        self._connection = self._child = None


def _environment() -> dict[str, str]:
    """What the child sees: an allow-list, and this package's place where it is not installed."""
    given = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    paths = [given.get("PYTHONPATH", ""), str(Path(espo_core.__file__).parents[1])]
    return SETTINGS | given | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _answer(reply: dict[str, JsonValue]) -> JsonValue:
    if "error" in reply:
        raise VerifierError(
            f"a verifier cannot run: {reply['error']}", hint="Install the trainer's requirements again."
        )
    return reply.get("verdict")


SANDBOX = Sandbox()
atexit.register(SANDBOX.close)
