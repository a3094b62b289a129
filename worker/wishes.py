"""What others want of a running attempt: each wish once, seen at once by whoever waits."""

from __future__ import annotations

import threading
import time
from enum import IntEnum


class Wish(IntEnum):
    """Why a run must end before it is done; the greater one wins."""

    HAND_BACK = 1
    """This worker is told to stop: another attempt goes on from the last checkpoint."""
    PAUSE = 2
    """The user wants it to rest."""
    CANCEL = 3
    """The user wants no more of it."""
    FENCE = 4
    """The attempt is over for the API side: nothing that we say counts any more."""


class Wishes:
    """The greatest wish so far. `stop` is set with the first, `abort` with the first that leaves no time to
    save what was done."""

    def __init__(self) -> None:
        self.stop, self.abort = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._wish: Wish | None = None
        self._first_at = 0.0

    @property
    def wish(self) -> Wish | None:
        return self._wish

    @property
    def age_seconds(self) -> float:
        """Since the first wish; 0 before."""
        return time.monotonic() - self._first_at if self.stop.is_set() else 0.0

    def add(self, wish: Wish) -> None:
        """Note a wish, from any thread."""
        with self._lock:
            self._first_at = self._first_at or time.monotonic()
            self._wish = wish if self._wish is None else max(self._wish, wish)
        self.stop.set()
        if wish >= Wish.CANCEL:
            self.abort.set()
