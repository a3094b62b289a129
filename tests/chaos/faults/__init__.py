"""Every fault that the campaign knows."""

from __future__ import annotations

from tests.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = ()
