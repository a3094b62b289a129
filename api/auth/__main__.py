"""`python -m api.auth create|list|revoke`: manages API keys in the database of ESPO_DATABASE_URL."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime

from api.audit.service import record
from api.auth import repository, service
from api.auth.keys import Scope
from api.db import Database
from api.errors import DomainError
from api.migrate import upgrade
from api.settings import Settings


def main() -> int:
    """Exit status of the command."""
    arguments = _parser().parse_args()
    settings = Settings()
    if settings.is_embedded:
        settings.home.mkdir(parents=True, exist_ok=True)
        upgrade(settings.database_url)
    try:
        asyncio.run(_run(arguments, settings.database_url))
    except DomainError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.auth", description="Manages API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key; it is printed once")
    create.add_argument("--project", default="default", help="name of the project, made if missing")
    create.add_argument("--name", default="key", help="what the key is for")
    create.add_argument(
        "--scopes", default="read,write", type=_scopes, help="of read, write, admin; by comma"
    )
    create.add_argument("--expires-days", type=float, help="days until it ends; default: never")
    commands.add_parser("list", help="list all keys, without their secrets")
    commands.add_parser("revoke", help="make a key worthless").add_argument("id")
    return parser


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(part.strip()) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"scopes are {', '.join(Scope)}, by comma") from None


async def _run(arguments: argparse.Namespace, database_url: str) -> None:
    database = Database(database_url)
    try:
        if arguments.command == "create":
            await _create(database, arguments)
        elif arguments.command == "list":
            await _list(database)
        else:
            async with database.write() as session:
                row = await service.revoke_key(session, arguments.id)
                record(session, project_id=row.project_id, action="revoke_key", object_id=row.id)
    finally:
        await database.close()


async def _create(database: Database, arguments: argparse.Namespace) -> None:
    days = arguments.expires_days
    expires_at = None if days is None else time.time() + days * 86400
    async with database.write() as session:
        row, secret = await service.create_key(
            session,
            project=arguments.project,
            name=arguments.name,
            scopes=arguments.scopes,
            expires_at=expires_at,
        )
        record(session, project_id=row.project_id, action="create_key", object_id=row.id)
    print(secret)


async def _list(database: Database) -> None:
    async with database.read() as session:
        for key, project in await repository.all_keys(session):
            ends = key.revoked_at or key.expires_at
            until = datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds") if ends else "-"
            state = "revoked" if key.revoked_at else "expires"
            print(
                key.id, f"{key.prefix}…", project.name, key.name, ",".join(key.scopes), state, until, sep="\t"
            )


if __name__ == "__main__":
    sys.exit(main())
