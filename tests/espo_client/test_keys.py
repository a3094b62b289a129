"""`espo keys`: made, used, listed, rotated, revoked, against a real service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from espo_client.commands import keys
from tests.espo_client.conftest import Local
from tests.espo_client.test_cli import call, good

COMMANDS = sorted(get_command(keys.app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, tmp_path: Path) -> None:
    text = good("keys", command, "--help", home=tmp_path)
    assert re.search(rf"(?m)^ .*espo keys {command}\b", text)


@pytest.mark.slow
def test_a_key_from_its_making_to_its_end(local: Local) -> None:
    secret = good("keys", "create", "--name", "ci", "--scopes", "read", home=local.home).strip()
    assert re.fullmatch(r"espo_[\w-]{43}", secret)
    assert call("models", home=local.home, ESPO_API_KEY=secret).exit_code == 0
    refused = call("keys", "list", home=local.home, ESPO_API_KEY=secret)
    assert (refused.exit_code, "lacks the scope admin" in refused.output) == (1, True)
    listed = json.loads(good("keys", "list", "--json", home=local.home))
    made = listed[0]
    assert (made["name"], made["scopes"], "secret" in made) == ("ci", ["read"], False)
    assert re.search(rf"{made['id']} +{secret[:11]}… +read +active", good("keys", "list", home=local.home))
    rotated = json.loads(
        good("keys", "rotate", made["id"], "--overlap-hours", "0", "--json", home=local.home)
    )
    assert call("models", home=local.home, ESPO_API_KEY=secret).exit_code == 1
    assert call("models", home=local.home, ESPO_API_KEY=rotated["secret"]).exit_code == 0
    assert "revoked" in good("keys", "revoke", rotated["id"], home=local.home)
    assert call("models", home=local.home, ESPO_API_KEY=rotated["secret"]).exit_code == 1
    assert "revoked" in good("keys", "list", home=local.home)


@pytest.mark.slow
def test_a_wrong_scope_is_named(local: Local) -> None:
    result = call("keys", "create", "--scopes", "root", home=local.home)
    assert (result.exit_code, "scopes" in result.output) == (1, True)
