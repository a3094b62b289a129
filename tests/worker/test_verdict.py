"""Which rank's end is the reason, where several end at once."""

from __future__ import annotations

import pytest

from espo_contracts.events import Failed
from espo_contracts.job import FailureCode
from worker.verdict import explain_ranks


def words(code: FailureCode) -> Failed:
    is_retryable = code is FailureCode.INTERNAL
    return Failed(code=code, message=f"of {code.value}", hint="h", is_retryable=is_retryable)


LOST = words(FailureCode.INTERNAL)
DIVERGED = words(FailureCode.DIVERGED)


@pytest.mark.parametrize(
    ("exits", "reports", "message"),
    [
        ({1: -9, 0: -15}, [], "rank 1 of 4 ended with signal SIGKILL"),
        ({0: 1, 1: -11, 2: -15}, [(0, LOST)], "rank 1 of 4 ended with signal SIGSEGV"),
        ({2: 3, 0: -9}, [], "rank 2 of 4 ended with status 3"),
        ({2: 1, 0: 1}, [(2, LOST), (0, LOST)], "rank 2 of 4: of internal"),
        ({0: 1, 3: 1, 1: -9}, [(0, LOST), (3, DIVERGED)], "rank 3 of 4: of diverged"),
        ({3: 1, 0: 1}, [(3, DIVERGED), (0, DIVERGED)], "of diverged"),
        ({2: -15, 1: -15}, [], "rank 2 of 4 ended with signal SIGTERM"),
    ],
)
def test_the_rank_that_went_first(
    exits: dict[int, int], reports: list[tuple[int, Failed]], message: str
) -> None:
    assert explain_ranks(exits, reports, ranks=4, was_out_of_memory=False).message == message


def test_a_rank_that_the_kernel_killed_for_memory() -> None:
    failed = explain_ranks({1: -9, 0: 1}, [(0, LOST)], ranks=2, was_out_of_memory=True)
    assert (failed.code, failed.is_retryable) == (FailureCode.OUT_OF_MEMORY, True)
    assert failed.message == "the kernel killed rank 1 of 2 for want of memory"
