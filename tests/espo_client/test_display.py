from __future__ import annotations

from espo_client.display import estimate_lines
from espo_client.records import Estimate


def test_an_estimate_shows_its_largest_parts_first() -> None:
    told = Estimate(
        rollout_tokens=123_456,
        parameters=1_234_567,
        trainable_parameters=12_345,
        memory_bytes=1_234_000_000,
        memory={"process": 400_000_000, "weights": 834_000_000, "reference": 0, "logits": 1_000_000},
        seconds=98.7,
        time={"sampling": 60.0, "update": 38.0, "evaluation": 0.7},
    )
    assert list(estimate_lines(told)) == [
        "rollout tokens: about 120,000",
        "parameters: 1,234,567, of which 12,345 are trained",
        "memory: about 1,200 MB (weights 830 MB, process 400 MB)",
        "time: about 99 s (sampling 60 s, update 38 s)",
    ]


def test_what_is_not_known_is_not_shown() -> None:
    assert list(estimate_lines(Estimate(rollout_tokens=10))) == ["rollout tokens: about 10"]
