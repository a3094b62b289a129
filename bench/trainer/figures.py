"""The figures of the bench, each a row of its table."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.trainer.checks import Check, same_loss, same_work
from bench.trainer.order import Order
from bench.trainer.race import Race, Say, prepared, race
from bench.trainer.turns import Child, Facts
from bench.trainer.works import SAMPLING_REACH, Work

MEMORY_REACH = {"b": 0.8, "head": 1 / 17}
HEAD_REACH, HEAD_ROUNDS = 2.8, 3
SHARE_REACH, SHARE_ROUNDS = 0.03, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row: what was measured, and the figure to reach."""

    name: str
    title: str
    race: Race
    reach: float
    """Times the peer's speed."""
    memory_reach: float | None = None
    """Times the peer's memory."""
    memory: str = "peak_bytes"
    """Which fact is the memory."""
    checks: list[Check] = field(default_factory=list)

    def is_reached(self) -> bool:
        """Speed, by the processor's time, and memory where it is asked for."""
        is_small = self.memory_reach is None or 1 / self.race.ratio(self.memory) <= self.memory_reach
        return self.race.ratio("cpu") >= self.reach and is_small

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "times_faster_cpu": self.race.ratio("cpu"),
            "times_faster_wall": self.race.ratio("wall"),
            "reach": self.reach,
            "memory_share": 1 / self.race.ratio(self.memory),
            "memory_reach": self.memory_reach,
            "checks": [asdict(check) for check in self.checks],
            "rounds": self.race.document(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """ESPO's objective as a part of our step."""

    name: str
    objective: float
    """Seconds of the processor."""
    step: float
    reach: float = SHARE_REACH

    @property
    def share(self) -> float:
        return self.objective / self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how everything is measured."""

    folder: Path
    core: int
    say: Say
    rounds: int | None
    """Rounds of every figure; None takes each work's own."""

    def train(self, work: Work) -> tuple[Figure, Order]:
        """Whole rollouts with their updates, and whether both sides did the same."""
        order = prepared(work, self.folder, self.core)
        told = race(order, self.say)
        checks = same_work(order, told) + same_loss(order)
        figure = Figure(
            name=work.name,
            title=work.title,
            race=told,
            reach=work.reach,
            memory_reach=MEMORY_REACH.get(work.name),
            checks=checks,
        )
        return figure, order

    def sampling(self, order: Order) -> Figure:
        """Responses alone."""
        return Figure(
            name=f"{order.work.name} sampling",
            title="sampling alone, TRL's side is `model.generate`",
            race=race(order, self.say, suffix="-sampling"),
            reach=SAMPLING_REACH[order.work.name],
        )

    def head(self) -> Figure:
        """Log-probability, entropy and gradients, each side in fresh processes."""
        rounds = [
            {side: self._head(side) for side in ("ours", "peer")} for _ in range(self.rounds or HEAD_ROUNDS)
        ]
        return Figure(
            name="head",
            title="log-prob + entropy + gradients, 4,096 tokens",
            race=Race(ours=[one["ours"] for one in rounds], peer=[one["peer"] for one in rounds]),
            reach=HEAD_REACH,
            memory="taken_bytes",
            memory_reach=MEMORY_REACH["head"],
        )

    def share(self, order: Order, step_seconds: float) -> Share:
        """ESPO's objective forward and backward against a step of ours."""
        with Child(order.document("objective"), order.scratch / "objective.log") as child:
            child.heard()
            seconds = [child.turn()["cpu"] for _ in range(SHARE_ROUNDS + 1)][1:]
        return Share(name=order.work.name, objective=statistics.median(seconds), step=step_seconds)

    def _head(self, side: str) -> Facts:
        order, log = {"side": side, "core": self.core}, self.folder / f"head-{side}.log"
        with Child(order, log, module="bench.trainer.head") as child:
            child.heard()
            facts = child.turn()
        self.say(f"(head) {side}: {facts['wall']:.1f} s")
        return {**facts, "taken_bytes": facts["peak_bytes"] - facts["resident_bytes"]}
