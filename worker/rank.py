"""One of the processes of a run on several devices: `python -m worker.rank <folder>`, started by torchrun.

The folder holds the order; the first rank tells its events to the named pipe in it, and leaves how the run
ended. One that fails leaves its last words there.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from espo_contracts.events import Event, Failed, Finished
from worker.child import Teller, die_with_parent
from worker.order import END, EVENTS, LAST_WORDS, ORDER, RunOrder


def main(folder: Path) -> int:
    """Exit status after one run: 0 when it succeeded."""
    die_with_parent()
    threading.Thread(target=_watch_input, daemon=True).start()
    from worker.training import train

    rank = int(os.environ["RANK"])
    order = RunOrder.model_validate_json((folder / ORDER).read_bytes())
    with ExitStack() as stack:
        emit = _nothing if rank else _teller(stack, folder)
        end = train(order, emit)
    if isinstance(end, Failed):
        _leave(folder / LAST_WORDS.format(rank=rank), end)
        return 1
    if rank == 0:
        _leave(folder / END, end)
    return 0


def _leave(path: Path, end: Finished | Failed) -> None:
    """Writes how the rank ended into a file, which is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(end.model_dump_json())
    partial.rename(path)


def _teller(stack: ExitStack, folder: Path) -> Callable[[Event], None]:
    pipe = (folder / EVENTS).open("w", encoding="utf-8", buffering=1)
    return Teller(stack.enter_context(pipe))


def _nothing(event: Event) -> None:
    """What others than the first rank tell."""


def _watch_input() -> None:
    """The input of all ranks is the run process's, which closes only by the death of our supervisor."""
    with io.FileIO(0, closefd=False) as ending:
        while ending.read(4096):
            pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the libraries' teardown: it takes two seconds to free what the system frees at once.
    os._exit(status)
