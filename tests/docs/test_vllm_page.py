"""docs/vllm.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from espo_contracts.rollout import RolloutSpec
from espo_core.rollout.vllm.settings import PREFIX, VllmSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vllm.md").read_text()


def test_names_every_setting_and_no_other() -> None:
    named = set(re.findall(rf"`{PREFIX}([A-Z_]+)`", PAGE))
    assert named == {name.upper() for name in VllmSettings.model_fields}
    assert f"| `{PREFIX}MEMORY` | {VllmSettings().memory} |" in PAGE


@pytest.mark.parametrize(
    "path", re.findall(r"`(tests/[\w/]+\.py)`", PAGE) + re.findall(r"\]\(\.\./(.+?)\)", PAGE)
)
def test_files_that_it_names_exist(path: str) -> None:
    assert (ROOT / path).is_file()


def test_fields_of_a_job_exist() -> None:
    assert set(re.findall(r"`rollout\.(\w+)`", PAGE)) <= RolloutSpec.model_fields.keys()
