"""The run process: imports the trainer, waits for its order, trains, tells its events, ends.

Started by the supervisor as `python -m worker.child <fd>`, in a session of its own. Events go as lines of
JSON to that descriptor; standard output and error are free for libraries and are kept as the run's log tail.
It knows no Redis. It ends by itself when its supervisor does, whatever way that one dies.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from espo_contracts.events import Event, Failed, Finished
from worker.order import RunOrder
from worker.process import SCRATCH

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> int:
    """Exit status after one run: 0 when it succeeded."""
    orders: SimpleQueue[bytes] = SimpleQueue()
    die_with_parent()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    os.set_inheritable(descriptor, False)
    # Seconds of work, done only now that the end of our parent ends us too.
    from worker.training import train

    _warm_up()
    order = RunOrder.model_validate_json(orders.get())
    with open(descriptor, "w", encoding="utf-8", buffering=1) as lines:
        tell = Teller(lines)
        is_alone = order.spec.resources.devices == 1
        end = train(order, tell) if is_alone else _train_together(order, tell)
        tell(end)
    return 0 if isinstance(end, Finished) else 1


def _warm_up() -> None:
    """Has the libraries do their first work. A full disk costs the run half a second, and not its life."""
    from safetensors import SafetensorError

    from espo_core.warm import warm_up
    from espo_transfer.scratch import clear_abandoned, scratch

    given = os.environ.get(SCRATCH)
    try:
        with scratch(Path(given)) if given else TemporaryDirectory() as folder:
            if given:
                clear_abandoned(Path(given))  # of those that were killed here
            warm_up(Path(folder))
    except (OSError, SafetensorError) as error:
        print(f"not warmed up: {error}", file=sys.stderr)


def _train_together(order: RunOrder, tell: Teller) -> Finished | Failed:
    """How the run of this order ended, of which this process only starts the ranks."""
    from worker.ranks import train_together

    return train_together(order, tell.line)


class Teller:
    """Writes events as lines, from any thread."""

    def __init__(self, lines: io.TextIOBase) -> None:
        self._lines = lines
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        self.line(event.model_dump_json() + "\n")

    def line(self, line: str) -> None:
        """Writes an event that is a line already."""
        with self._lock:
            self._lines.write(line)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends, even while a library holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(orders: SimpleQueue[bytes]) -> None:
    """Take the order, then wait: the supervisor closes our input only by its death, which takes all of us."""
    with io.FileIO(0, closefd=False) as orders_in:
        orders.put(orders_in.readline())
        while orders_in.read(4096):
            pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    status = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the libraries' teardown: it takes two seconds to free what the system frees at once.
    os._exit(status)
