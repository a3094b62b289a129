"""Every fault comes as often as it should, and no second long one while one is out."""

from __future__ import annotations

from collections import Counter
from random import Random

from tests.chaos.deck import Deck
from tests.chaos.fault import Fault


def _nothing(*_: object) -> None:
    return None


FAULTS = [
    Fault(name="rare", inject=_nothing),
    Fault(name="frequent", inject=_nothing, weight=3),
    Fault(name="long", inject=_nothing, is_long=True),
]


def test_a_deck_holds_each_fault_by_its_weight() -> None:
    deck = Deck(FAULTS, Random(1))
    dealt = [deck.deal(may_be_long=True).name for _ in range(10)]
    assert Counter(dealt[:5]) == Counter(dealt[5:]) == {"rare": 1, "frequent": 3, "long": 1}


def test_a_long_one_waits_until_the_other_is_over() -> None:
    deck = Deck(FAULTS, Random(1))
    dealt = [deck.deal(may_be_long=False).name for _ in range(8)]
    assert Counter(dealt) == {"rare": 2, "frequent": 6}
    assert [deck.deal(may_be_long=True).name for _ in range(2)] == ["long", "long"]


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[str]:
        deck = Deck(FAULTS, Random(seed))
        return [deck.deal(may_be_long=True).name for _ in range(20)]

    assert order(1) == order(1) != order(2)
