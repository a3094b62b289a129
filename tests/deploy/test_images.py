"""What the images and the compose file promise, as far as it can be told without an engine."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "api": ("api", "espo_contracts", "espo_transfer", "migrations"),
    "worker": ("worker", "espo_core", "espo_contracts", "espo_transfer"),
}
OURS = {"api", "worker", "espo_core", "espo_contracts", "espo_transfer"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def plain(name: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(image: str) -> set[str]:
    lines = (ROOT / f"deploy/requirements-{image}.txt").read_text().splitlines()
    return {plain(line.partition("[")[0]) for line in lines if line and not line.startswith("#")}


def locked() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {plain(line.partition("==")[0]) for line in lines if "==" in line}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def third_party(image: str) -> set[str]:
    """Names of the modules that an image's code imports from other people's packages."""
    files = [path for room in ROOMS[image] for path in (ROOT / room).rglob("*.py")]
    assert files
    return {name for path in files for name in imported_modules(path)} - OURS - set(sys.stdlib_module_names)


@pytest.mark.parametrize("image", ROOMS)
def test_an_image_has_what_its_code_imports(image: str) -> None:
    owners = packages_distributions()
    missing = {
        name: owners.get(name)
        for name in third_party(image)
        if not required(image).intersection(map(plain, owners.get(name, ())))
    }
    assert not missing, f"add to deploy/requirements-{image}.txt"


@pytest.mark.parametrize("image", ROOMS)
def test_the_lock_file_decides_every_version(image: str) -> None:
    assert required(image) <= locked()


def test_the_api_image_has_no_trainer_and_the_worker_image_no_database() -> None:
    assert not required("api") & {"torch", "transformers", "peft", "accelerate"}
    assert not required("worker") & {"sqlalchemy", "psycopg", "aiosqlite", "fastapi", "obstore"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("user", "") in ({"postgres", "redis"} if "build" not in service else {""})


def test_a_worker_shares_no_network_with_the_database_and_has_none_of_its_secrets() -> None:
    for name in ("worker", "worker-cpu"):
        assert not set(SERVICES[name]["networks"]) & set(SERVICES["postgres"]["networks"])
        assert "POSTGRES" not in str(SERVICES[name]["environment"])
        assert "ESPO_DATABASE_URL" not in SERVICES[name]["environment"]


def test_only_the_api_is_published_and_on_loopback_unless_told() -> None:
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["api"]
    assert SERVICES["api"]["ports"] == ["${API_BIND:-127.0.0.1}:${ESPO_API_PORT:-8000}:8000"]


def test_the_gpu_is_reserved_for_one_worker_only() -> None:
    reserved = [name for name in SERVICES if "deploy" in SERVICES[name]]
    assert reserved == ["worker"]
    (device,) = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_example_environment_explains_every_variable_and_no_other() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert explained - {"COMPOSE_PROFILES"} == used
    assert re.findall(r"^(\w+)=$", example, re.MULTILINE) == ["POSTGRES_PASSWORD", "REDIS_PASSWORD"]


def test_the_example_environment_shows_the_defaults() -> None:
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert shown == defaults
