"""A short round of the campaign on each database; the long one is `make chaos SEED=1 ROUNDS=10`."""

from __future__ import annotations

import pytest

from tests.chaos.campaign import Scale, run
from tests.chaos.fault import DATABASES
from tests.chaos.faults import processes, redis
from tests.chaos.table import markdown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAULTS = [
    fault
    for fault in (*processes.FAULTS, *redis.FAULTS)
    # A lost worker is waited for through a whole lease: that is for the long campaign.
    if not fault.name.startswith("worker")
]


@pytest.mark.parametrize("database", DATABASES)
def test_a_short_round_loses_nothing(database: str) -> None:
    scale = Scale(jobs=2, faults=5, pause_seconds=0.5)
    findings = run(database=database, seed=1, rounds=1, scale=scale, faults=FAULTS)
    assert findings.injections, "nothing was harmed"
    assert len(findings.verdicts) == 2
    assert not findings.harms, markdown([findings])
