"""Why a run ended without saying so: from an exit status, an error of ours or the clock to a Failed event."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from errno import ENOMEM
from operator import itemgetter

from espo_contracts.events import Failed
from espo_contracts.job import FailureCode
from espo_transfer import TransferError

MEMORY_HINT = (
    "Lower optimiser.micro_batch_tokens, rollout.max_new_tokens or rollout.prompts_per_step, or use a larger "
    "machine; `validate` estimates the need."
)
_MESSAGE_CHARACTERS = 4000
# How PyTorch's allocators, C++, CUDA's libraries and Python's threads say it, in whatever kind of exception.
_WANT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",
    "can't start new thread",
)


def explain_death(
    returncode: int, *, log_tail: str, was_out_of_memory: bool, protocol_error: str | None
) -> Failed:
    """The failure of a run process that ended without a last word."""
    if protocol_error is not None:
        return _internal(protocol_error, log_tail)
    # C++ code that finds no memory aborts, and says why on its way.
    gave_up = returncode == -signal.SIGABRT and says_out_of_memory(log_tail)
    failed = _out_of_memory(f"the run process gave up: {log_tail.splitlines()[-1]}") if gave_up else None
    failed = failed or _death("the run process", returncode, was_out_of_memory=was_out_of_memory)
    return failed.model_copy(update={"log_tail": log_tail})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it came from, is for want of memory."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == ENOMEM:
            return True
        if isinstance(seen, RuntimeError | OSError) and says_out_of_memory(str(seen)):
            return True
        seen = seen.__cause__
    return False


def says_out_of_memory(text: str) -> bool:
    """Whether a message, or the end of a log, speaks of a want of memory."""
    lower = text.lower()
    return any(words in lower for words in _WANT_OF_MEMORY)


def explain_ranks(
    exits: Mapping[int, int],
    reports: Sequence[tuple[int, Failed]],
    *,
    ranks: int,
    was_out_of_memory: bool,
) -> Failed:
    """The failure of the rank that went first: when one goes, those that wait for it go too.

    `exits` are exit statuses in the order in which they were seen, `reports` last words, the earliest first.
    """
    final = sorted((one for one in reports if not one[1].is_retryable), key=itemgetter(0))
    heard = {rank for rank, _ in reports}
    silent = [rank for rank in exits if rank not in heard and exits[rank] != -signal.SIGTERM]
    if not final and silent:
        name = f"rank {silent[0]} of {ranks}"
        return _death(name, exits[silent[0]], was_out_of_memory=was_out_of_memory)
    if final or reports:
        rank, failed = (final or reports)[0]
        # What every rank finds is no news of one of them.
        what = failed.message if rank == 0 else f"rank {rank} of {ranks}: {failed.message}"
        return failed.model_copy(update={"message": what[:_MESSAGE_CHARACTERS]})
    rank = next(iter(exits))
    return _death(f"rank {rank} of {ranks}", exits[rank], was_out_of_memory=False)


def timed_out(max_hours: float, *, log_tail: str) -> Failed:
    """The failure of a job that took too long."""
    return Failed(
        code=FailureCode.TIMEOUT,
        message=f"the job trained for longer than resources.max_hours ({max_hours:g}), in all its attempts",
        hint="Raise resources.max_hours, or train fewer steps; checkpoints until here are kept.",
        log_tail=log_tail,
    )


def not_brought(error: TransferError | OSError) -> Failed:
    """The failure of a run whose files did not come."""
    return Failed(
        code=FailureCode.INTERNAL,
        message=f"the files of the run could not be brought to the worker: {error}"[:_MESSAGE_CHARACTERS],
        hint="Check the free disk space of worker and store.",
        is_retryable=True,
    )


def _death(who: str, returncode: int, *, was_out_of_memory: bool) -> Failed:
    if returncode == -signal.SIGKILL and was_out_of_memory:
        failed = _out_of_memory(f"the kernel killed {who} for want of memory")
        return failed.model_copy(update={"is_retryable": True})  # a neighbour may have used the memory
    return _internal(f"{who} ended with {_spelled(returncode)}", "")


def _out_of_memory(message: str) -> Failed:
    return Failed(code=FailureCode.OUT_OF_MEMORY, message=message[:_MESSAGE_CHARACTERS], hint=MEMORY_HINT)


def _internal(message: str, log_tail: str) -> Failed:
    return Failed(
        code=FailureCode.INTERNAL,
        message=message[:_MESSAGE_CHARACTERS],
        hint="The log tail has its last words; the run starts again from its last checkpoint.",
        is_retryable=True,
        log_tail=log_tail,
    )


def _spelled(returncode: int) -> str:
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"
