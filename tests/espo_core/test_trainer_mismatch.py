"""Runs whose sampler is not quite the old policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from espo_contracts.events import Log
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

CORRECTED = {"mismatch_correction": {"cap": 1.005}}


def run(tmp_path: Path, tiny_model: Path, *, dtype: str, **rollout: Any) -> tuple[dict[str, Any], bool]:
    """Metrics of the second step, and whether the run warned of the sampler's log-probabilities."""
    spec = tiny_job(model={"name": "tiny", "dtype": dtype}, rollout=rollout, schedule={"steps": 2})
    events = run_job(spec, tmp_path, tiny_model)
    warnings = [event.message for event in events if isinstance(event, Log)]
    return metrics_of(events)[2], any("sampler and trainer differ" in one for one in warnings)


def test_bfloat16_is_measured_and_corrected(tmp_path: Path, tiny_model: Path) -> None:
    plain, has_warned = run(tmp_path / "plain", tiny_model, dtype="bfloat16")
    weighted, has_warned_again = run(tmp_path / "weighted", tiny_model, dtype="bfloat16", **CORRECTED)
    assert (has_warned, has_warned_again) == (True, False)
    assert "policy/importance_mean" not in plain
    for metrics in (plain, weighted):
        assert 1e-3 < metrics["policy/sampler_gap"] < 0.2
        assert 1e-7 < metrics["policy/sampler_kl"] < 1e-3
    assert weighted["policy/importance_mean"] == pytest.approx(1, abs=0.01)
    assert 0.01 < weighted["policy/importance_truncated_fraction"] < 0.6
    assert weighted["policy/loss"] != plain["policy/loss"]


def test_float32_needs_no_correction(tmp_path: Path, tiny_model: Path) -> None:
    plain, _ = run(tmp_path / "plain", tiny_model, dtype="float32")
    weighted, _ = run(tmp_path / "weighted", tiny_model, dtype="float32", **CORRECTED)
    assert weighted["policy/importance_truncated_fraction"] == 0
    assert weighted["policy/importance_mean"] == pytest.approx(1, abs=1e-5)
    assert weighted["policy/sampler_kl"] < 1e-9
    for name in ("policy/loss", "policy/entropy", "reward/mean"):
        assert weighted[name] == pytest.approx(plain[name], abs=1e-4)
