from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import REPOSITORY, Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ESPO_{name.upper()}", raising=False)


def test_embedded_defaults() -> None:
    settings = Settings()
    home = REPOSITORY / ".espo"
    assert settings.database_url == f"sqlite+aiosqlite:///{home}/espo.db"
    assert settings.is_embedded
    assert settings.broker_url == settings.redis_url
    assert settings.store_url == str(home / "store")
    assert settings.model_path == f"{home}/models:{REPOSITORY}/examples"
    assert settings.loop_names == ("dispatch", "ingest", "reconcile")
    assert not settings.allow_hub


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESPO_HOME", "data")
    monkeypatch.setenv("ESPO_DATABASE_URL", "postgresql://u:p@h/d?x=1")
    monkeypatch.setenv("ESPO_REDIS_URL", "redis://r")
    monkeypatch.setenv("ESPO_LOOPS", "")
    settings = Settings()
    assert settings.home == tmp_path / "data"
    assert settings.database_url == "postgresql+psycopg://u:p@h/d?x=1"
    assert not settings.is_embedded
    assert settings.broker_url == "redis://r"
    assert settings.loop_names == ()


@pytest.mark.parametrize(
    ("name", "value"), [("LOOPS", "dispatch,sweep"), ("MAX_ATTEMPTS", "0"), ("ALLOW_HUB", "perhaps")]
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ESPO_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
