"""What a run process is told of its worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.nursery import child_environment


def test_a_run_process_knows_no_address_but_vllm_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"ESPO_VLLM_URL": "http://10.0.0.2:8000", "LANG": "C"}
    kept_back = {"ESPO_REDIS_URL": "redis://:secret@10.0.0.1", "ESPO_BROKER_URL": "redis://10.0.0.1"}
    for name, value in (told | kept_back).items():
        monkeypatch.setenv(name, value)
    environment = child_environment(allow_hub=False, scratch=tmp_path)
    assert told.items() <= environment.items()
    assert not kept_back.keys() & environment.keys()
    assert environment["HF_HUB_OFFLINE"] == "1"
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert "HF_HUB_OFFLINE" not in child_environment(allow_hub=True, scratch=tmp_path)
