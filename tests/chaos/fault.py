"""A fault: a harm that is done to the running service and healed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.stack import Stack

DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the campaign may do to the stack at any moment; a module of `faults` lists its own as FAULTS."""

    name: str
    inject: Callable[[Stack, Random], None]
    """Does the harm, heals it and returns. Every choice comes from the given source of randomness.

    It raises NothingToHarm when there was nothing to do it to, such as no run that trains.
    """
    weight: int = 1
    """How often it comes while each fault of weight one comes once."""
    databases: tuple[str, ...] = DATABASES
    is_long: bool = False
    """It takes more than a few seconds: others are injected meanwhile, and no second long one."""


class NothingToHarm(Exception):  # noqa: N818 - nothing is wrong
    """The fault did not happen, and is not counted."""
