"""What the processes load, seen in fresh interpreters."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "peft", "espo_core", "worker")


def loaded_by(module: str) -> set[str]:
    """Top-level names in `sys.modules` after importing `module` in a fresh interpreter."""
    program = (
        f"import json, sys, {module}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_api_loads_no_trainer() -> None:
    assert not loaded_by("api.app").intersection(HEAVY)


def test_the_client_loads_neither_trainer_nor_service() -> None:
    assert not loaded_by("espo_client.cli").intersection({*HEAVY, "api", "sqlalchemy", "redis", "celery"})


def test_the_contracts_load_pydantic_only() -> None:
    assert not loaded_by("espo_contracts.wire").intersection(
        {*HEAVY, "api", "redis", "sqlalchemy", "fastapi", "httpx"}
    )


def test_the_trainer_loads_no_service() -> None:
    assert not loaded_by("espo_core.trainer").intersection(
        {"api", "redis", "celery", "sqlalchemy", "fastapi"}
    )
