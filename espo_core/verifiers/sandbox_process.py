"""The process in which untrusted text meets code that can hang, exhaust memory or be talked into something.

It reads one JSON request a line from the socket on its standard input and answers one JSON line. A request
that uses up its CPU seconds kills this process (SIGPROF's default action, which no C code can hold up); the
caller sees the connection end and starts another. Run by path, so that it needs nothing of this package.

Some scorers of reasoning-gym, and sympy's parser, evaluate a completion as Python. While a request runs, an
audit hook refuses to start processes, to open connections and to change files: what a model may stumble on.
That is no wall against somebody who writes the completions to break out (https://peps.python.org/pep-0578).
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import re
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

MEMORY_BYTES = 2 * 1024**3
Request = dict[str, Any]


class RefusedError(Exception):
    """A request names something that does not exist or must not be used; its text is for people."""


def matches_pattern(request: Request) -> bool:
    """Returns whether the pattern is found in the text, or covers it."""
    pattern = re.compile(request["pattern"], request["flags"])
    found = pattern.fullmatch(request["text"]) if request["full"] else pattern.search(request["text"])
    return found is not None


def math_equal(request: Request) -> bool | None:
    """Returns whether the text's answer equals the reference; None if the reference cannot be read."""
    from math_verify import parse, verify

    reference = str(request["reference"])
    gold = parse(reference, parsing_timeout=None) if "$" in reference or "\\boxed" in reference else []
    gold = gold or parse(f"${reference}$", parsing_timeout=None)
    if not gold:
        return None
    answer = parse(request["text"], parsing_timeout=None)
    return bool(answer) and bool(verify(gold, answer, timeout_seconds=None))


def gym_datasets() -> dict[str, tuple[Any, Any]]:
    """Returns reasoning-gym's classes of a dataset and of its config, by name."""
    return cast("dict[str, tuple[Any, Any]]", importlib.import_module("reasoning_gym.factory").DATASETS)


def gym_config(name: str, values: dict[str, Any]) -> Any:
    """Returns a reasoning-gym dataset's config.

    Raises:
        RefusedError: An unknown name, or values that the dataset does not take.
    """
    datasets = gym_datasets()
    if name not in datasets:
        near = get_close_matches(name, datasets, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise RefusedError(f"reasoning-gym has no dataset {name!r}{guess}")
    kind = datasets[name][1]
    # `spell_backward` reads the file that its config names: no path comes from a user.
    fields = {one.name for one in dataclasses.fields(kind) if not one.name.endswith(("_file", "_path"))}
    known = fields - {"seed", "size"}  # the task's own, and no second way to set them
    unknown = sorted(set(values) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise RefusedError(f"{name} has no parameter {unknown[0]!r} (valid: {listed})")
    return kind(**values)


@lru_cache(maxsize=4)
def gym_dataset(source: str) -> Any:
    """Returns the dataset of a source: the JSON of its name, config, seed and size.

    Raises:
        RefusedError: As `gym_config`, and where the dataset itself refuses its config.
    """
    wanted = json.loads(source)
    name, size = wanted["dataset"], min(int(wanted["size"]), 10_000_000)
    try:
        config = gym_config(name, wanted["config"])
        config = dataclasses.replace(config, seed=int(wanted["seed"]), size=size)
        return gym_datasets()[name][0](config=config)
    except (AssertionError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RefusedError(f"{name}: {error or type(error).__name__}"[:500]) from error


@lru_cache(maxsize=8_192)
def gym_entry(source: str, index: int) -> dict[str, Any]:
    """Returns an entry, made anew unless it is remembered: its metadata would not survive JSON."""
    return cast("dict[str, Any]", gym_dataset(source)[index])


def gym_rows(request: Request) -> dict[str, Any]:
    """Returns `{"rows": [[index, question, answer], ...]}`, or `{"refused": why}`.

    An entry that cannot be made, as some datasets give up on unlucky draws, is left out.
    """
    rows, reasons = [], []
    try:
        gym_dataset(request["source"])
    except RefusedError as error:
        return {"refused": str(error)}
    for index in range(request["first"], request["first"] + request["count"]):
        try:
            entry = gym_entry(request["source"], index)
        except Exception as error:  # noqa: BLE001  (a hundred generators raise what they like)
            reasons.append(f"{type(error).__name__}: {error}"[:500])
        else:
            rows.append([index, str(entry["question"]), str(entry["answer"] or "")])
    return {"rows": rows, "reasons": reasons[:1]}


def gym_score(request: Request) -> float:
    """Returns the dataset's own score of the answer."""
    entry = gym_entry(request["source"], request["index"])
    return float(gym_dataset(request["source"]).score_answer(request["text"], entry))


HANDLERS: dict[str, Callable[[Request], Any]] = {
    "pattern": matches_pattern,
    "math": math_equal,
    "gym_rows": gym_rows,
    "gym_score": gym_score,
}
LIBRARIES = {"math": "math_verify", "gym_rows": "reasoning_gym", "gym_score": "reasoning_gym"}


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


IS_GUARDED = threading.Event()
GUARDED = ("os.", "subprocess.", "socket.", "ctypes.", "pty.", "shutil.", "signal.", "fcntl.", "urllib.")
HARMLESS = frozenset({"os.listdir", "os.scandir"})  # what an import does
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuses, while a request runs, what would reach beyond this process."""
    if not IS_GUARDED.is_set() or event in HARMLESS:
        return
    if event.startswith(GUARDED) or (event == "open" and arguments[2] & WRITES):
        raise PermissionError(event)


def verdict(request: Request) -> Any:
    """Returns a handler's verdict, None where it fails, and dies if it exceeds its CPU seconds."""
    signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
    IS_GUARDED.set()
    try:
        return HANDLERS[request["kind"]](request)
    except Exception:  # noqa: BLE001  (whatever untrusted text provokes is no verdict)
        return None
    finally:
        IS_GUARDED.clear()
        signal.setitimer(signal.ITIMER_PROF, 0)


def reply_to(line: str) -> dict[str, Any]:
    """Returns `{"error": why}` where a kind cannot work at all, else `{"verdict": what the handler says}`."""
    request = cast("Request", json.loads(line))
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
    sys.addaudithook(guard)
    with socket.socket(fileno=0) as connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            stream.write(json.dumps(reply_to(line)) + "\n")
            stream.flush()


if __name__ == "__main__":
    main()
