"""The process in which untrusted text meets code that can hang, exhaust memory or be talked into something.

It says `{}`, then reads one JSON request a line from the socket on its standard input and answers one JSON
line. A request that uses up its CPU seconds kills this process (SIGPROF's default action, which no C code can
hold up); the caller sees the connection end and starts another. Nothing else of espo_core is imported here:
it stays small.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TextIO, cast

from espo_core.sandboxed import documents, guard, gym, patterns, symbols

MEMORY_BYTES = 2 * 1024**3
HANDLERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    **patterns.HANDLERS,
    **symbols.HANDLERS,
    **documents.HANDLERS,
    **gym.HANDLERS,
}
LIBRARIES = {
    "math": "math_verify",
    "schema": "jsonschema",
    "schema_error": "jsonschema",
    "gym_rows": "reasoning_gym",
    "gym_score": "reasoning_gym",
}


def stand_in(library: str) -> None:
    """Puts an empty module where a library is missing.

    pycosat has no wheels, needs a C compiler, and is imported with reasoning-gym for one of its datasets:
    without it `zebra_puzzles` makes no rows, and the others work.
    """
    if library not in sys.modules and importlib.util.find_spec(library) is None:
        sys.modules[library] = ModuleType(library)


def unusable(kind: str) -> str | None:
    """Imports what a kind needs (not charged to its first request); returns why it cannot, or None."""
    if kind not in LIBRARIES:
        return None
    try:
        stand_in("pycosat")
        importlib.import_module(LIBRARIES[kind])
    except Exception as error:  # noqa: BLE001  (whatever a broken installation raises, the caller reports it)
        return f"{type(error).__name__}: {error}"
    return None


def verdict(request: dict[str, Any]) -> Any:
    """Returns a handler's verdict, None where it fails, and dies if it exceeds its CPU seconds."""
    signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
    try:
        with guard.guarded():
            return HANDLERS[request["kind"]](request)
    except Exception:  # noqa: BLE001  (whatever untrusted text provokes is no verdict)
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def reply_to(line: str) -> dict[str, Any]:
    """Returns `{"error": why}` where a kind cannot work at all, else `{"verdict": what the handler says}`."""
    request = cast("dict[str, Any]", json.loads(line))
    reason = unusable(request["kind"])
    return {"verdict": verdict(request)} if reason is None else {"error": reason}


def limit_memory() -> None:
    """Bounds the address space where the platform can (macOS cannot lower it)."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ValueError, OSError):
        return


def send(stream: TextIO, reply: dict[str, Any]) -> None:
    """Writes one line."""
    stream.write(json.dumps(reply) + "\n")
    stream.flush()


def main() -> None:
    """Serves requests until the caller closes the connection or dies."""
    limit_memory()
    # Ctrl-C reaches the whole foreground group; this process ends with its caller, not before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard.install()
    with socket.socket(fileno=0) as connection, connection.makefile("rw", encoding="utf-8") as stream:
        send(stream, {})
        for line in stream:
            send(stream, reply_to(line))


if __name__ == "__main__":
    main()
