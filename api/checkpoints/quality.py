"""Which checkpoint of a job is the best."""

from __future__ import annotations

from collections.abc import Sequence

from api.checkpoints.models import Checkpoint

# Accuracy on held-out prompts where it was measured, else the mean reward in training; higher is better.
QUALITY = ("held_out/greedy", "reward/mean")


def best(rows: Sequence[Checkpoint]) -> Checkpoint | None:
    """The row of the highest quality; of equals, and where nothing was measured, the newest.

    `rows` are ordered by step.
    """
    for name in QUALITY:
        measured = [row for row in rows if row.metrics.get(name) is not None]
        if measured:
            return max(measured, key=lambda row: (row.metrics[name], row.step))
    return rows[-1] if rows else None
