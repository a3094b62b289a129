"""Where vLLM is, read from an environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from espo_core.errors import ConfigError
from espo_core.rollout.vllm.settings import settings_of


def test_without_a_word_it_runs_in_the_process() -> None:
    settings = settings_of({"PATH": "/bin", "ESPO_REDIS_URL": "x", "ESPO_VLLM_URL": ""})
    assert (settings.url, settings.folder, settings.memory) == (None, None, 0.4)


def test_reads_a_server(tmp_path: Path) -> None:
    settings = settings_of({"ESPO_VLLM_URL": "http://10.0.0.2:8000", "ESPO_VLLM_FOLDER": str(tmp_path)})
    assert (str(settings.url), settings.folder) == ("http://10.0.0.2:8000/", tmp_path)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ESPO_VLLM_URL": "http://10.0.0.2:8000"}, "go together"),
        ({"ESPO_VLLM_FOLDER": "/"}, "go together"),
        ({"ESPO_VLLM_URL": "http://10.0.0.2:8000", "ESPO_VLLM_FOLDER": "/no/such"}, "no folder"),
        ({"ESPO_VLLM_URL": "file:///etc/passwd", "ESPO_VLLM_FOLDER": "/"}, "ESPO_VLLM_URL: URL scheme"),
        ({"ESPO_VLLM_MEMORY": "1.5"}, "ESPO_VLLM_MEMORY: Input should be less than 1"),
        ({"ESPO_VLLM_ADDRESS": "x"}, "ESPO_VLLM_ADDRESS: Extra inputs"),
    ],
)
def test_names_the_variable_that_is_wrong(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        settings_of(environment)
    assert "operator" in raised.value.hint
