"""A run on several devices: this run process starts torchrun, which starts a rank for each (rank.py).

The ranks live in sessions of their own, as torchrun has it; each ends when this process does. The first
rank's events come through a named pipe, because torchrun hands no descriptor on; the last words of a rank
that fails lie in a file, and which of them is the reason is decided here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from espo_contracts.events import Failed, Finished
from espo_core.distributed.launch import run_ranks
from worker import machine
from worker.order import END, EVENTS, LAST_WORDS, ORDER, RunOrder
from worker.verdict import explain_ranks

RANK = "worker.rank"


def train_together(
    order: RunOrder, tell_line: Callable[[str], object], module: str = RANK
) -> Finished | Failed:
    """How the run of this order ended; the events of its first rank have been told as lines."""
    folder, ranks = order.work_dir / "ranks", order.spec.resources.devices
    folder.mkdir(parents=True)
    (folder / ORDER).write_text(order.model_dump_json())
    kernel_kills = machine.kernel_kills()
    with _relayed(folder / EVENTS, tell_line):
        exits = run_ranks(ranks, module, [str(folder)], folder=folder)
    if not exits:
        return Finished.model_validate_json((folder / END).read_bytes())
    return explain_ranks(
        exits,
        list(_last_words(folder, ranks)),
        ranks=ranks,
        was_out_of_memory=machine.kernel_kills() > kernel_kills,
    )


@contextmanager
def _relayed(pipe: Path, tell_line: Callable[[str], object]) -> Iterator[None]:
    """Tells the lines that are written to a named pipe during the block; at its end, all of them are told."""
    os.mkfifo(pipe, 0o600)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # without this a pipe that nobody writes stays shut
    writing = os.open(pipe, os.O_WRONLY)  # and without this it ends before somebody does
    os.set_blocking(reading, True)

    def relay() -> None:
        with os.fdopen(reading, encoding="utf-8", newline="\n") as lines:
            for line in lines:
                if line.endswith("\n"):  # else its writer died over it
                    tell_line(line)

    thread = threading.Thread(target=relay, daemon=True, name="events")
    thread.start()
    try:
        yield
    finally:
        os.close(writing)
        thread.join()


def _last_words(folder: Path, ranks: int) -> Iterator[tuple[int, Failed]]:
    """Yields what ranks that failed had to say, the earliest first."""
    said = [(rank, folder / LAST_WORDS.format(rank=rank)) for rank in range(ranks)]
    found = [(path.stat().st_mtime_ns, rank, path) for rank, path in said if path.is_file()]
    for _, rank, path in sorted(found):
        yield rank, Failed.model_validate_json(path.read_bytes())
