"""The engine that a job asks for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from espo_contracts.job import JobSpec
from espo_core.errors import ConfigError
from espo_core.policy import Policy
from espo_core.rollout.build import build_engine, trained_engine
from espo_core.rollout.native import NativeEngine
from espo_core.rollout.vllm.engine import VllmEngine
from espo_core.rollout.vllm.server import Server
from tests.espo_core.rollout.vllm.stand_in import StandIn, serving
from tests.espo_core.tiny import tiny_job


def job(**rollout: Any) -> JobSpec:
    return tiny_job(rollout={"engine": "vllm", **rollout})


def test_native_unless_the_job_says_otherwise(policy: Policy) -> None:
    assert isinstance(build_engine(tiny_job(), policy), NativeEngine)


def test_a_worker_without_vllm_says_so(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match="this worker has no vLLM") as raised:
        build_engine(job(), policy)
    assert "native" in raised.value.hint


def test_the_operator_names_the_server(
    policy: Policy, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(StandIn(tiny_model)) as url:
        monkeypatch.setenv("ESPO_VLLM_URL", url)
        monkeypatch.setenv("ESPO_VLLM_FOLDER", str(tmp_path))
        engine = build_engine(job(), policy)
        ahead = job(max_staleness=1, mismatch_correction={})
        assert isinstance(build_engine(ahead, policy), VllmEngine)
    assert isinstance(engine, VllmEngine)
    assert isinstance(engine.backend, Server)
    assert engine.backend.url.startswith(url)
    assert engine.policy is policy
    # Where vLLM samples ahead by a copy, the trained policy is evaluated natively.
    assert isinstance(trained_engine(ahead, policy), NativeEngine)


@pytest.mark.parametrize(
    "cut", [{"top_p": 0.9}, {"top_k": 5}, {"min_new_tokens": 2}, {"max_staleness": 1}], ids=str
)
def test_what_hides_the_old_policy_needs_the_correction(cut: dict[str, Any], policy: Policy) -> None:
    with pytest.raises(ConfigError, match=r"need rollout\.mismatch_correction"):
        build_engine(job(**cut), policy)


def test_one_device(policy: Policy) -> None:
    with pytest.raises(ConfigError, match=r"resources\.devices 1"):
        build_engine(tiny_job(rollout={"engine": "vllm"}, resources={"devices": 2}), policy)
