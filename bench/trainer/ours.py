"""Our trainer's process: a rollout and its updates a turn."""

from __future__ import annotations

from bench.trainer.order import Order
from bench.trainer.turns import Turns
from bench.trainer.updates import Updates
from espo_contracts.events import Event, Metrics, Started
from espo_core.trainer import Trainer

TOLD = {
    "tokens": "rollout/tokens",
    "sampling_seconds": "time/rollout_seconds",
    "update_seconds": "time/update_seconds",
    "equal_rewards": "reward/zero_variance_fraction",
}


def play(turns: Turns, order: Order) -> None:
    """The run waits for a turn whenever it has told the metrics of a step."""
    updates = Updates()

    def emit(event: Event) -> None:
        if isinstance(event, Started):
            turns.answer(parameters=event.parameters)
        elif isinstance(event, Metrics):
            turns.answer(**_facts(event), updates=updates.taken())
        else:
            return
        turns.wait()

    Trainer(order.inputs(), emit).run()


def _facts(event: Metrics) -> dict[str, float | None]:
    return {name: event.values.get(metric) for name, metric in TOLD.items()}
