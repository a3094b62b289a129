"""What users are told of a run that went wrong."""

from __future__ import annotations

import errno

import pytest
import torch

from espo_contracts.job import FailureCode
from espo_core.errors import DataError, ModelError, NonFiniteLossError
from worker.training import explained


@pytest.mark.parametrize(
    ("error", "code", "is_retryable"),
    [
        (DataError("line 3 is no JSON"), FailureCode.DATA_ERROR, False),
        (ModelError("no tokenizer"), FailureCode.MODEL_NOT_FOUND, False),
        (NonFiniteLossError(7), FailureCode.DIVERGED, False),
        (MemoryError(), FailureCode.OUT_OF_MEMORY, False),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureCode.OUT_OF_MEMORY, False),
        (ZeroDivisionError("x" * 100_000), FailureCode.INTERNAL, True),
    ],
)
def test_each_kind_of_error_has_its_code(
    error: Exception, code: FailureCode, is_retryable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    failed = explained(fail)
    assert failed is not None
    assert (failed.code, failed.is_retryable) == (code, is_retryable)
    assert failed.hint
    assert len(failed.message) <= 4000
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_want_of_memory_is_not_taken_for_what_it_breaks(cause: Exception) -> None:
    def load() -> None:
        try:
            raise cause
        except Exception as error:
            raise ModelError("model 'm' cannot be loaded") from error

    failed = explained(load)
    assert failed is not None
    assert failed.code is FailureCode.OUT_OF_MEMORY
    assert "cannot be loaded" in failed.message


def test_success_explains_nothing() -> None:
    assert explained(lambda: None) is None
