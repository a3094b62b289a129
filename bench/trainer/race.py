"""Both sides of a work, rollout by rollout in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.trainer.models import model_folder
from bench.trainer.order import Order
from bench.trainer.prompts import rows_of, write_rows
from bench.trainer.turns import Child, Facts
from bench.trainer.works import Work

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What both sides told of the rounds that count."""

    ours: list[Facts]
    peer: list[Facts]

    def median(self, side: str, name: str) -> float:
        """Median of a fact, `side` being `ours` or `peer`."""
        return float(statistics.median(facts[name] for facts in getattr(self, side)))

    def ratio(self, name: str = "wall") -> float:
        """Median over the rounds of the peer's figure by ours: a slow moment weighs on both of a round."""
        pairs = zip(self.ours, self.peer, strict=True)
        return float(statistics.median(peer[name] / ours[name] for ours, peer in pairs))

    def has_equal(self, name: str) -> bool:
        """Whether both sides told the same of every round."""
        return [facts[name] for facts in self.ours] == [facts[name] for facts in self.peer]

    def document(self) -> Facts:
        """As JSON."""
        return asdict(self)


def race(order: Order, say: Say, *, suffix: str = "") -> Race:
    """The rounds of a work, in two processes on one core; `suffix` goes to the roles `ours` and `peer`."""
    work = order.work
    with ExitStack() as stack:
        sides = [
            stack.enter_context(
                Child(
                    order.document(side + suffix),
                    order.scratch / f"{side}{suffix}.log",
                    on_gpu=work.device == "gpu",
                )
            )
            for side in ("ours", "peer")
        ]
        ready = [side.heard() for side in sides]
        rounds = []
        for number in range(-work.warm_up, work.rounds):
            # The one that begins changes, so that neither always finds the other's data in the caches.
            first, second = sides if number % 2 == 0 else sides[::-1]
            told = {first: first.turn(), second: second.turn()}
            rounds.append([{**start, **told[side]} for start, side in zip(ready, sides, strict=True)])
            say(_line(work, number, *rounds[-1]))
    kept = rounds[work.warm_up :]
    return Race(ours=[one for one, _ in kept], peer=[other for _, other in kept])


def prepared(work: Work, folder: Path, core: int) -> Order:
    """The order of a work, with its model and its prompts written."""
    scratch = folder / work.name
    scratch.mkdir(parents=True, exist_ok=True)
    write_rows(rows_of(work), scratch / "prompts.jsonl")
    return Order(
        work=work,
        model=model_folder(work.model, folder),
        rows=scratch / "prompts.jsonl",
        scratch=scratch,
        core=core,
    )


def _line(work: Work, number: int, ours: Facts, peer: Facts) -> str:
    what = "warm-up" if number < 0 else f"{number + 1}/{work.rounds}"
    return f"({work.name}) {what}: ours {ours['wall']:.3f} s, TRL {peer['wall']:.3f} s"
