"""Wall clocks of single processes, each of which can step while its process runs."""

from __future__ import annotations

import os
import struct
from pathlib import Path

STEPPING = Path(__file__).with_name("stepping")
HOUR_SECONDS = 3600.0


class Clocks:
    """A file for each process, with the seconds by which its clock is wrong."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder

    def environment_of(self, name: str) -> dict[str, str]:
        """What makes a process, and what it starts, look at its clock."""
        path = self._folder / name
        if not path.exists():
            path.write_bytes(struct.pack("d", 0.0))
        search = [str(STEPPING), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"CHAOS_CLOCK": str(path), "PYTHONPATH": os.pathsep.join(search)}

    def step(self, name: str, seconds: float) -> None:
        """From now on the clock is wrong by so much; 0 sets it right."""
        with (self._folder / name).open("r+b", buffering=0) as file:
            file.write(struct.pack("d", seconds))


def unstepped(moment: float, *, near: float) -> float:
    """A time by a clock that may be wrong by whole hours, as the right clock would have it near another."""
    return moment - HOUR_SECONDS * round((moment - near) / HOUR_SECONDS)
