from __future__ import annotations

import pytest

from bench.dispatch import Outcome, report, run

GOOD = Outcome(
    seconds=0.2, order=[(4, 1.0), (4, 2.0), (0, 0.5)], urgent_overtaken_by=1, succeeded=4, most_attempts=1
)


@pytest.mark.slow
def test_a_few_jobs_through_two_workers() -> None:
    outcome = run("sqlite", jobs=8, workers=2)
    assert outcome.succeeded == 9
    assert outcome.most_attempts == 1
    assert outcome.order == sorted(outcome.order, key=lambda job: (-job[0], job[1]))
    assert outcome.urgent_overtaken_by <= 2


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"seconds": 0.4}, 1),
        ({"order": [(0, 0.5), (4, 1.0), (4, 2.0)]}, 1),
        ({"order": [(4, 2.0), (4, 1.0), (0, 0.5)]}, 1),
        ({"succeeded": 3}, 1),
        ({"urgent_overtaken_by": 3}, 1),
    ],
)
def test_what_is_missed_is_told_by_the_status(changes: dict[str, object], status: int) -> None:
    fields = {name: getattr(GOOD, name) for name in Outcome.__slots__} | changes
    assert report(Outcome(**fields), jobs=3, workers=2) == status  # type: ignore[arg-type]
