"""The errors of a run, each with a stable code for machines and a hint for people.

EspoError                 internal
├── ConfigError           invalid_spec      a parameter, a name or a batch breaks its rules
├── DataError             data_error        a training file or a prompt cannot be used
├── ModelError            model_not_found   a model folder is missing or incomplete
├── VerifierError         verifier_error    a reward function raised or gave no usable number
├── NonFiniteLossError    diverged          the loss became NaN or infinite
└── CheckpointError       internal          a checkpoint cannot be written or read

Every one crosses a process boundary by pickling unchanged. Running out of memory is not here: torch raises
it, and the supervisor, which also sees deaths without an exception, gives it its code.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class EspoError(Exception):
    """Base of all errors that a run explains to its user."""

    code: ClassVar[str] = "internal"
    default_hint: ClassVar[str] = "Read the run's log; if it names no cause, report it with the job id."

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint


class ConfigError(EspoError):
    """A parameter, a name or a batch breaks its rules."""

    code = "invalid_spec"
    default_hint = "Correct the named field; the message lists what is allowed."


class DataError(EspoError):
    """A training file or a prompt cannot be used."""

    code = "data_error"
    default_hint = "Check the data file at the line that the message names."


class ModelError(EspoError):
    """A model folder is missing, incomplete or unusable."""

    code = "model_not_found"
    default_hint = "List the models that this server offers and name one of them."


class VerifierError(EspoError):
    """A reward function raised, or gave no usable number."""

    code = "verifier_error"
    default_hint = "Check the verifier's parameters and the reference answers in the data."


class NonFiniteLossError(EspoError):
    """The loss of a step is NaN or infinite."""

    code = "diverged"
    default_hint = "Lower the learning rate, or resume from an earlier checkpoint."

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite at step {step}")
        self.step = step

    def __reduce__(self) -> tuple[type["NonFiniteLossError"], tuple[int]]:
        return type(self), (self.step,)


class CheckpointError(EspoError):
    """A checkpoint cannot be written, or what was read is not a checkpoint of this run."""

    code = "internal"
    default_hint = "Check the free disk space and resume from an earlier checkpoint."


def unknown_name(*, kind: str, name: str, valid: Iterable[str]) -> ConfigError:
    """The error for a name that is not in a list: it shows the nearest valid name and the whole list."""
    names = sorted(valid)
    listed = ", ".join(names) or "none"
    near = get_close_matches(name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"unknown {kind} {name!r}{guess} (valid: {listed})", hint=f"Use one of: {listed}.")
