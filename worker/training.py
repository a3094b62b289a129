"""One run of the trainer, and how it ended in words for its user. Only the run process imports this."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch

from espo_contracts.events import Event, Failed, Finished
from espo_contracts.job import FailureCode
from espo_core.distributed.world import joined_world
from espo_core.errors import EspoError
from espo_core.trainer import RunInputs, Trainer
from worker.order import RunOrder
from worker.verdict import MEMORY_HINT, is_out_of_memory

_MESSAGE_CHARACTERS = 4000


def train(order: RunOrder, emit: Callable[[Event], None]) -> Finished | Failed:
    """How the run of this order ended; its events have been told to `emit`."""
    steps: list[int] = []
    failed = explained(lambda: steps.append(_run(order, emit)))
    if failed is not None:
        return failed
    is_done = steps[0] == order.spec.schedule.steps
    return Finished(outcome="succeeded" if is_done else "handed_back", step=steps[0])


def _run(order: RunOrder, emit: Callable[[Event], None]) -> int:
    """Steps done, this time and before."""
    with joined_world(order.spec.resources) as world:
        inputs = RunInputs(
            spec=order.spec,
            work_dir=order.work_dir,
            model=order.model,
            data_file=order.data_file,
            resume=order.resume,
            world=world,
            must_stop=order.stop_file.exists,
        )
        return Trainer(inputs, emit).run()


def explained(work: Callable[[], None]) -> Failed | None:
    """What went wrong in `work`; None when nothing did."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the boundary where an unknown error becomes an event
        return _explanation(error)
    return None


def _explanation(error: Exception) -> Failed:
    # First: whoever meets a want of memory may take it for something else, such as a broken model.
    if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
        message = f"the run needs more memory than there is: {error}"
        return _failed(error, FailureCode.OUT_OF_MEMORY, message, MEMORY_HINT)
    if isinstance(error, EspoError):
        return _failed(error, FailureCode(error.code), error.message, error.hint)
    hint = "The log tail shows where; the run starts again from its last checkpoint."
    failed = _failed(error, FailureCode.INTERNAL, f"{type(error).__name__}: {error}", hint)
    return failed.model_copy(update={"is_retryable": True})


def _failed(error: BaseException, code: FailureCode, message: str, hint: str) -> Failed:
    """The trace goes to the log tail, not into the message."""
    traceback.print_exception(error)
    return Failed(code=code, message=message[:_MESSAGE_CHARACTERS], hint=hint)
