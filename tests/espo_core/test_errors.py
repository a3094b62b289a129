"""Errors keep their code, message and hint across a process boundary."""

import pickle

import pytest

from espo_core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    EspoError,
    ModelError,
    NonFiniteLossError,
    VerifierError,
    unknown_name,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EspoError("x"), "internal"),
        (ConfigError("x", hint="do y"), "invalid_spec"),
        (DataError("x"), "data_error"),
        (ModelError("x"), "model_not_found"),
        (VerifierError("x", hint="do y"), "verifier_error"),
        (NonFiniteLossError(41), "diverged"),
        (CheckpointError("x"), "internal"),
    ],
)
def test_pickles_unchanged(error: EspoError, code: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.code, str(copy), copy.message, copy.hint) == (code, str(error), str(error), error.hint)
    assert copy.hint


def test_divergence_names_its_step() -> None:
    copy = pickle.loads(pickle.dumps(NonFiniteLossError(41)))
    assert copy.step == 41
    assert "step 41" in str(copy)


def test_unknown_name_shows_the_nearest_and_all() -> None:
    error = unknown_name(kind="verifier", name="exat", valid=["numeric", "exact"])
    assert str(error) == "unknown verifier 'exat'; did you mean 'exact'? (valid: exact, numeric)"
    assert str(unknown_name(kind="task", name="q", valid=[])) == "unknown task 'q' (valid: none)"
