"""A run process whose ranks are small programs: `python -m tests.worker.ranks_child <fd>`."""

from __future__ import annotations

import os
import sys

from worker.child import die_with_parent
from worker.order import RunOrder
from worker.ranks import train_together

if __name__ == "__main__":
    die_with_parent()
    order = RunOrder.model_validate_json(sys.stdin.readline())
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as lines:
        end = train_together(order, lines.write, "tests.worker.rank_program")
        lines.write(end.model_dump_json() + "\n")
