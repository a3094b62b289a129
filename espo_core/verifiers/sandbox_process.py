"""The process in which verifiers run code that can hang or exhaust memory: regular expressions and sympy.

It reads one JSON request a line from the socket on its standard input and answers one JSON line. A request
that uses up its CPU seconds kills this process (SIGPROF's default action, which no C code can hold up); the
caller sees the connection end and starts another. Run by path, so that it needs nothing of this package.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any, cast

MEMORY_BYTES = 2 * 1024**3


def matches_pattern(request: dict[str, Any]) -> bool:
    """Returns whether the pattern is found in the text, or covers it."""
    pattern = re.compile(request["pattern"], request["flags"])
    found = pattern.fullmatch(request["text"]) if request["full"] else pattern.search(request["text"])
    return found is not None


def math_equal(request: dict[str, Any]) -> bool | None:
    """Returns whether the text's answer equals the reference; None if the reference cannot be read."""
    from math_verify import parse, verify

    reference = str(request["reference"])
    gold = parse(reference, parsing_timeout=None) if "$" in reference or "\\boxed" in reference else []
    gold = gold or parse(f"${reference}$", parsing_timeout=None)
    if not gold:
        return None
    answer = parse(request["text"], parsing_timeout=None)
    return bool(answer) and bool(verify(gold, answer, timeout_seconds=None))


HANDLERS: dict[str, Callable[[dict[str, Any]], bool | None]] = {
    "pattern": matches_pattern,
    "math": math_equal,
}


def unusable(kind: str) -> str | None:
    """Imports what a kind needs (not charged to its first request); returns why it cannot, or None."""
    try:
        if kind == "math":
            import math_verify  # noqa: F401
    except Exception as error:  # noqa: BLE001  (whatever a broken installation raises, the caller reports it)
        return f"{type(error).__name__}: {error}"
    return None


def verdict(request: dict[str, Any]) -> bool | None:
    """Returns a handler's verdict, None where it fails, and dies if it exceeds its CPU seconds."""
    signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
    try:
        return HANDLERS[request["kind"]](request)
    except Exception:  # noqa: BLE001  (whatever untrusted text provokes is no verdict)
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def reply_to(line: str) -> dict[str, Any]:
    """Returns `{"error": why}` where a kind cannot work at all, else `{"verdict": true, false or null}`."""
    request = cast("dict[str, Any]", json.loads(line))
    reason = unusable(request["kind"])
    return {"verdict": verdict(request)} if reason is None else {"error": reason}


def limit_memory() -> None:
    """Bounds the address space where the platform can (macOS cannot lower it)."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ValueError, OSError):
        return


def main() -> None:
    """Serves requests until the caller closes the connection or dies."""
    limit_memory()
    # Ctrl-C reaches the whole foreground group; this process ends with its caller, not before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=0) as connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            stream.write(json.dumps(reply_to(line)) + "\n")
            stream.flush()


if __name__ == "__main__":
    main()
