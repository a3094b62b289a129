"""What others want of a running attempt: each wish once, seen at once by whoever waits."""

from __future__ import annotations

import threading
from enum import IntEnum


class Wish(IntEnum):
    """Why a run must end before it is done; the greater one wins."""

    HAND_BACK = 1
    """This worker is told to stop: another attempt goes on from the last checkpoint."""
    CANCEL = 2
    """The user wants no more of it."""
    FENCE = 3
    """The attempt is over for the API side: nothing that we say counts any more."""


class Wishes:
    """The greatest wish so far, and an event that is set with the first."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._wish: Wish | None = None

    @property
    def wish(self) -> Wish | None:
        return self._wish

    def add(self, wish: Wish) -> None:
        """Note a wish, from any thread."""
        with self._lock:
            self._wish = wish if self._wish is None else max(self._wish, wish)
        self.stop.set()
