"""What may not happen while untrusted text is judged.

Nothing here evaluates a completion as Python on purpose (harmless.py stands in where reasoning-gym would),
but a hundred scorers and a computer algebra system read it. So while a request runs, an audit hook refuses to
start processes, to open connections and to change files.
That is no wall against somebody who writes completions to break out (https://peps.python.org/pep-0578).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

IS_GUARDED = threading.Event()
GUARDED = ("os.", "subprocess.", "socket.", "ctypes.", "pty.", "shutil.", "signal.", "fcntl.", "urllib.")
HARMLESS = frozenset({"os.listdir", "os.scandir"})  # what an import does
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install() -> None:
    """Puts the hook in place, for the life of the process."""
    sys.addaudithook(refuse)


@contextmanager
def guarded() -> Iterator[None]:
    """Refuses, while its block runs, what would reach beyond this process."""
    IS_GUARDED.set()
    try:
        yield
    finally:
        IS_GUARDED.clear()


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raises PermissionError where a guarded block causes a forbidden event."""
    if not IS_GUARDED.is_set() or event in HARMLESS:
        return
    if event.startswith(GUARDED) or (event == "open" and arguments[2] & WRITES):
        raise PermissionError(event)
