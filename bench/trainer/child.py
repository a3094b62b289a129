"""The process of one side: `python -m bench.trainer.child <order>`."""

from __future__ import annotations

import importlib
import json
import sys

from bench.trainer.machine import use_one_core
from bench.trainer.order import Order
from bench.trainer.turns import Over, Turns

ROLES = {
    "ours": "bench.trainer.ours",
    "peer": "bench.trainer.peer",
    "ours-sampling": "bench.trainer.ours_sampling",
    "peer-sampling": "bench.trainer.peer_sampling",
    "ours-loss": "bench.trainer.ours_loss",
    "peer-loss": "bench.trainer.peer_loss",
    "objective": "bench.trainer.objective_share",
}
"""What a child may do: the module whose `play` does it. Loaded alone, so that each has its own memory."""


def main() -> None:
    """Plays a role until the parent hangs up."""
    turns, given = Turns(), json.loads(sys.argv[1])
    order = Order.of(given)
    if order.work.device == "cpu":
        use_one_core(order.core)
    try:
        importlib.import_module(ROLES[given["role"]]).play(turns, order)
    except Over:
        return


if __name__ == "__main__":
    main()
