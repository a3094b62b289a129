"""API keys of the project. Wants a key with the scope admin, as `espo up` makes one."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.markup import escape

from espo_client.client import EspoClient
from espo_client.commands.arguments import AsJson, Limit
from espo_client.console import age, clock, err, out, print_json, print_table
from espo_client.records import ApiKey, NewApiKey

app = typer.Typer(no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Id of a key; `espo keys list` shows it.", metavar="KEY")]
Days = Annotated[float | None, typer.Option(help="Days until the new key ends; default: never.", min=0)]
Scopes = Annotated[str, typer.Option(help="Of read, write, admin; by comma.")]


@app.callback()
def keys() -> None:
    """API keys: create, list, revoke, rotate.

    \b
    espo keys create --name ci --scopes read,write
    espo keys list
    """


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    scopes: Scopes = "read,write",
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed once, alone on stdout.

    \b
    espo keys create --name ci --scopes read,write --days 90
    """
    expires_at = None if days is None else time.time() + days * 86_400
    wanted = [scope.strip() for scope in scopes.split(",")]
    with EspoClient.from_environment() as client:
        made = client.create_key(name=name, scopes=wanted, expires_at=expires_at)
    _show(made, as_json=as_json)


@app.command("list")
def list_keys(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the project's keys, newest first, without their secrets.

    \b
    espo keys list
    espo keys list --json
    """
    with EspoClient.from_environment() as client:
        found = list(client.keys(limit=limit))
    if as_json:
        print_json(found)
        return
    rows = (
        (key.id, f"{key.prefix}…", ",".join(key.scopes), _state(key), _used(key), escape(key.name))
        for key in found
    )
    print_table("id", "key", "scopes", "state", "last used", "name", rows=rows, empty="No keys.")


@app.command("revoke")
def revoke(key: KeyId, as_json: AsJson = False) -> None:
    """Make a key worthless, from the next request on.

    \b
    espo keys revoke key-0123…
    """
    with EspoClient.from_environment() as client:
        revoked = client.revoke_key(key)
    if as_json:
        print_json(revoked)
    else:
        out.print(f"{revoked.id} revoked", markup=False, highlight=False)


@app.command("rotate")
def rotate(
    key: KeyId,
    overlap_hours: Annotated[float, typer.Option(help="Hours for which the old key still works.")] = 24.0,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make a key that replaces another, which works on for a while. It is printed once.

    \b
    espo keys rotate key-0123… --overlap-hours 1
    """
    expires_at = None if days is None else time.time() + days * 86_400
    with EspoClient.from_environment() as client:
        made = client.rotate_key(key, overlap_seconds=round(overlap_hours * 3600), expires_at=expires_at)
    _show(made, as_json=as_json)


def _show(made: NewApiKey, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print(made.secret)
    err.print(f"{made.id}: keep it now, it is not shown again", style="dim", highlight=False)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    return f"{'until' if key.is_active else 'ended'} {clock(key.expires_at)}"


def _used(key: ApiKey) -> str:
    return "never" if key.last_used_at is None else f"{age(key.last_used_at)} ago"
