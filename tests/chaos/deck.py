"""Which fault comes next: each as often as its weight says, in an order of chance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.chaos.fault import Fault


class Deck:
    """Cards that are dealt to the last one before they are shuffled again, so that no kind stays away."""

    def __init__(self, faults: Sequence[Fault], rng: Random) -> None:
        self._faults = faults
        self._rng = rng
        self._cards: list[Fault] = []

    def deal(self, *, may_be_long: bool) -> Fault:
        """The next card; the next short one, if a long one is out already."""
        if not any(may_be_long or not card.is_long for card in self._cards):
            fresh = [fault for fault in self._faults for _ in range(fault.weight)]
            self._rng.shuffle(fresh)
            self._cards += fresh
        at = next(i for i, card in enumerate(self._cards) if may_be_long or not card.is_long)
        return self._cards.pop(at)
