"""How the tests are shared out among several processes: what stays together, and what starts first."""

from __future__ import annotations

from collections import Counter

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Paths whose tests take something that costs more to start than most tests: a service, a converted model.
TOGETHER = {
    "tests/e2e/": "e2e",
    "tests/espo_client/": "espo_client",
    "tests/espo_core/test_smollm2.py": "smollm2",
    "tests/examples/test_make_smollm2.py": "smollm2",
}


def group_of(nodeid: str) -> str:
    """The name of what runs in one process with a test: its file alone, if nothing else."""
    shared = (name for path, name in TOGETHER.items() if nodeid.startswith(path))
    return next(shared, nodeid.split("::", maxsplit=1)[0])


def long_groups_first(items: list[pytest.Item]) -> None:
    """Orders the tests by how many slow ones their group has: a long group would run alone at the end."""
    slow = Counter(group_of(item.nodeid) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[group_of(item.nodeid)])


class Sharing(LoadScopeScheduling):
    """Gives each group to one process, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        # The order is by slow tests already, and the scheduler knows only how many tests there are.
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
