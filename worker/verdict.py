"""Why a run ended without saying so: from an exit status, an error of ours or the clock to a Failed event."""

from __future__ import annotations

import signal

from espo_contracts.events import Failed
from espo_contracts.job import FailureCode
from espo_transfer import TransferError


def explain_death(
    returncode: int, *, log_tail: str, was_out_of_memory: bool, protocol_error: str | None
) -> Failed:
    """The failure of a run process that ended without a last word."""
    if protocol_error is not None:
        return _internal(protocol_error, log_tail)
    if returncode == -signal.SIGKILL and was_out_of_memory:
        return Failed(
            code=FailureCode.OUT_OF_MEMORY,
            message="the kernel killed the run for want of memory",
            hint="Lower optimiser.micro_batch_tokens or rollout.prompts_per_step, or use a larger machine.",
            is_retryable=True,  # a neighbour may have used the memory
            log_tail=log_tail,
        )
    return _internal(f"the run process ended with {_spelled(returncode)}", log_tail)


def timed_out(max_hours: float) -> Failed:
    """The failure of a run that took too long."""
    return Failed(
        code=FailureCode.TIMEOUT,
        message=f"the run took longer than resources.max_hours ({max_hours:g})",
        hint="Raise resources.max_hours, or train fewer steps; checkpoints until here are kept.",
    )


def not_brought(error: TransferError | OSError) -> Failed:
    """The failure of a run whose files did not come."""
    return Failed(
        code=FailureCode.INTERNAL,
        message=f"the files of the run could not be brought to the worker: {error}"[:4000],
        hint="Check the free disk space of worker and store.",
        is_retryable=True,
    )


def _internal(message: str, log_tail: str) -> Failed:
    return Failed(
        code=FailureCode.INTERNAL,
        message=message[:4000],
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
