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
import traceback
from collections.abc import Callable

import torch

from espo_contracts.events import Event, Failed, Finished
from espo_contracts.job import FailureCode
from espo_core.errors import EspoError
from espo_core.trainer import RunInputs, Trainer
from worker.order import RunOrder

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> int:
    """Exit status after one run: 0 when it succeeded."""
    die_with_parent()
    line = io.FileIO(0, closefd=False).readline()
    if not line:
        return 0
    threading.Thread(target=_end_at_end_of_input, daemon=True).start()
    order = RunOrder.model_validate_json(line)
    os.set_inheritable(descriptor, False)
    with open(descriptor, "w", encoding="utf-8", buffering=1) as lines:
        teller = _Teller(lines)
        end = run(order, teller)
        teller(end)
    return 0 if isinstance(end, Finished) else 1


class _Teller:
    """Writes events as lines, from any thread, and remembers the last step."""

    def __init__(self, lines: io.TextIOBase) -> None:
        self._lines = lines
        self._lock = threading.Lock()
        self.step = 0

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.step = max(self.step, getattr(event, "step", 0))
            self._lines.write(event.model_dump_json() + "\n")


def run(order: RunOrder, emit: _Teller) -> Finished | Failed:
    """How the run of this order ended; its events have been told to `emit`."""
    inputs = RunInputs(
        spec=order.spec,
        work_dir=order.work_dir,
        model=order.model,
        data_file=order.data_file,
        resume=order.resume,
    )
    return explained(lambda: Trainer(inputs, emit).run()) or Finished(step=emit.step)


def explained(work: Callable[[], None]) -> Failed | None:
    """What went wrong in `work`, for its user; None when nothing did."""
    try:
        work()
    except EspoError as error:
        traceback.print_exc()
        return Failed(code=FailureCode(error.code), message=_bounded(error.message), hint=error.hint)
    except (MemoryError, torch.OutOfMemoryError) as error:
        traceback.print_exc()
        return Failed(
            code=FailureCode.OUT_OF_MEMORY,
            message=_bounded(f"the run needs more memory than there is: {error}"),
            hint="Lower optimiser.micro_batch_tokens, rollout.max_new_tokens or rollout.prompts_per_step.",
        )
    except Exception as error:  # noqa: BLE001 - the boundary where an unknown error becomes an event
        traceback.print_exc()
        return Failed(
            code=FailureCode.INTERNAL,
            message=_bounded(f"{type(error).__name__}: {error}"),
            hint="The log tail shows where; the run starts again from its last checkpoint.",
            is_retryable=True,
        )
    return None


def _bounded(message: str) -> str:
    return message[:4000]


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends, even while a library holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_at_end_of_input() -> None:
    """The supervisor never closes our input while it lives; at its end nothing of the run may remain."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    status = main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the libraries' teardown: it takes two seconds to free what the system frees at once.
    os._exit(status)
