from __future__ import annotations

import struct
from pathlib import Path

import pytest

from espo_client.plot import smooth, write_plot
from espo_client.records import Curve, Job
from espo_contracts.job import JobStatus

JOB = Job(id="job-1", name="a $x^{ of <mine>", status=JobStatus.SUCCEEDED, created_at=0.0, model="m")


def curve(*values: float | None) -> Curve:
    return Curve(steps=list(range(1, len(values) + 1)), values=list(values))


@pytest.mark.parametrize(
    "curves",
    [
        {},
        {"reward/mean": curve(0.1), "held_out/greedy": curve(None)},
        {
            "reward/mean": curve(*(step / 100 for step in range(100))),
            "policy/entropy": curve(1.0, None, 0.5),
            "held_out/greedy": curve(0.2, 0.4),
            "held_out/greedy_low": curve(0.1, 0.3),
            "held_out/greedy_high": curve(0.3, 0.5),
        },
    ],
)
def test_every_run_can_be_drawn(tmp_path: Path, curves: dict[str, Curve]) -> None:
    path = tmp_path / "new" / "plot.png"
    write_plot(JOB, curves, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert (width, height) == (1430, 910)
    assert [entry.name for entry in path.parent.iterdir()] == ["plot.png"], "no temporary file stays"


def test_smoothing_is_unbiased_at_its_start_and_keeps_a_constant() -> None:
    assert smooth([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smooth([1.0, 2.0])[1] == pytest.approx((0.92 * 0.08 * 1 + 0.08 * 2) / (0.92 * 0.08 + 0.08))
