from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from espo_core.warm import warm_up
from tests.espo_core.tiny import metrics_of, run_job, tiny_job


def test_a_run_does_not_notice(tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(schedule={"steps": 2})
    cold = metrics_of(run_job(spec, tmp_path / "a", tiny_model))
    warm_up(tmp_path / "warm")
    assert metrics_of(run_job(spec, tmp_path / "b", tiny_model)) == cold


@pytest.mark.slow
def test_loading_a_model_is_then_quick(tiny_model: Path, tmp_path: Path) -> None:
    program = f"""
import time, espo_core.trainer
from pathlib import Path
from espo_core.loading import ModelSource, load_model
from espo_core.warm import warm_up
source = ModelSource.of_folder(Path({str(tiny_model)!r}))
times = [time.process_time()]
for work in (lambda: warm_up(Path({str(tmp_path)!r})), lambda: load_model(source, dtype="float32")):
    work()
    times.append(time.process_time())
print(times[1] - times[0], times[2] - times[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    warming, loading = map(float, done.stdout.split())
    assert loading < warming / 2
