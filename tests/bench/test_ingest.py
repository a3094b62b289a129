from __future__ import annotations

import pytest

from bench import ingest
from bench.ingest import Round, measure, report
from bench.mlflow_server import Peer

PEER = Peer(by_step=900.0, by_thousand=4000.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_events_arrive_and_are_put_in_again(name: str) -> None:
    (only,) = measure(name, events=300, rounds=1)
    assert only.service > 0
    assert only.bare > 0


@pytest.mark.parametrize(
    ("service", "bare", "status"), [(6000.0, 10_000.0, 0), (6000.0, 30_000.0, 1), (4900.0, 10_000.0, 1)]
)
def test_a_figure_that_is_missed_is_told_by_the_status(service: float, bare: float, status: int) -> None:
    rounds = [Round(service=service, bare=bare)] * 3
    assert report("sqlite", rounds, PEER) == status
    assert report("sqlite", rounds, None) == status


def test_mlflow_is_compared_by_points(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [Round(service=6000.0, bare=10_000.0)]
    assert report("sqlite", rounds, PEER) == 0
    assert f"{6000 * ingest.METRICS / 4000:.0f} times MLflow's best" in capsys.readouterr().out
    assert report("sqlite", rounds, Peer(by_step=1.0, by_thousand=5000.0)) == 1
