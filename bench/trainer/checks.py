"""Whether both sides did the same work: tokens, updates, parameters, and the loss on a fixed rollout."""

from __future__ import annotations

from dataclasses import dataclass

from bench.trainer.order import Order
from bench.trainer.race import Race
from bench.trainer.turns import Child, Facts

LOSS_TOLERANCE = 1e-5
"""Absolute: the loss is a sum of advantages of both signs, of the order of 1."""
GRADIENT_TOLERANCE = 1e-4
"""Relative, of the norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison."""

    what: str
    ours: float
    peer: float
    is_equal: bool

    def line(self) -> str:
        """For people."""
        verdict = "equal" if self.is_equal else "NOT EQUAL"
        return f"{self.what} {verdict} ({self.ours:.7g}, {self.peer:.7g})"


def same_work(order: Order, race: Race) -> list[Check]:
    """What the rounds told: tokens where lengths are forced, updates, parameters."""
    names = ["parameters", "updates", *(["tokens"] if order.work.is_forced else [])]
    return [
        Check(
            what=name,
            ours=race.median("ours", name),
            peer=race.median("peer", name),
            is_equal=race.has_equal(name),
        )
        for name in names
    ]


def same_loss(order: Order) -> list[Check]:
    """Loss and gradient of one update on one rollout that another policy sampled, in two fresh processes."""
    ours, peer = _told(order, "ours-loss"), _told(order, "peer-loss")
    loss_gap = abs(ours["loss"] - peer["loss"])
    norm_gap = abs(ours["gradient_norm"] - peer["gradient_norm"]) / peer["gradient_norm"]
    return [
        _check("loss", ours, peer, loss_gap <= LOSS_TOLERANCE),
        _check("gradient_norm", ours, peer, norm_gap <= GRADIENT_TOLERANCE),
    ]


def _check(name: str, ours: Facts, peer: Facts, is_equal: bool) -> Check:
    return Check(what=name, ours=ours[name], peer=peer[name], is_equal=is_equal)


def _told(order: Order, role: str) -> Facts:
    with Child(order.document(role), order.scratch / f"{role}.log") as child:
        return child.heard()
