"""`python -m api.limits show|set`: limits of a project in the database of ESPO_DATABASE_URL."""

from __future__ import annotations

import argparse
import asyncio
import sys

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.service import record
from api.auth.models import Project
from api.auth.repository import project_by_name
from api.db import Database
from api.errors import DomainError, not_found
from api.limits import quotas, service
from api.settings import Settings

OPTIONS = ("queued_jobs", "running_jobs", "device_hours", "stored_bytes", "upload_bytes")


def main() -> int:
    """Exit status of the command."""
    arguments = _parser().parse_args()
    try:
        asyncio.run(_run(arguments, Settings()))
    except DomainError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.limits", description="Limits of a project.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="show each limit beside its use")
    change = commands.add_parser("set", help="change limits; `default`: what the settings say")
    for command in (show, change):
        command.add_argument("--project", required=True, help="name of the project")
    for name in OPTIONS:
        change.add_argument(
            f"--{name.replace('_', '-')}", type=_limit, metavar="N", default=argparse.SUPPRESS
        )
    return parser


def _limit(text: str) -> float | None:
    if text == "default":
        return None
    number = float(text)
    if not 0 <= number < 2**62:
        raise argparse.ArgumentTypeError("a limit is a number from 0, or `default`")
    return number


async def _run(arguments: argparse.Namespace, settings: Settings) -> None:
    database = Database(settings.database_url)
    try:
        async with database.write() as session:
            quotas.bind(session, settings)
            project = await project_by_name(session, arguments.project)
            if project is None:
                raise not_found("project", arguments.project)
            _change(session, project, arguments)
            await session.flush()
            shown = await service.limits_of(session, project.id, settings)
    finally:
        await database.close()
    for row in shown.limits:
        print(row.name, "unlimited" if row.limit is None else f"{row.limit:.12g}", row.used, sep="\t")


def _change(session: AsyncSession, project: Project, arguments: argparse.Namespace) -> None:
    changes = {name: value for name, value in vars(arguments).items() if name in OPTIONS}
    for name, value in changes.items():
        is_whole = name != "device_hours" and value is not None
        setattr(project, f"max_{name}", int(value) if is_whole else value)
    if changes:
        record(session, project_id=project.id, action="set_limits", object_id=project.id)


if __name__ == "__main__":
    sys.exit(main())
