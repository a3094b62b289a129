"""Whether an installation works, and what to do where it does not."""

from __future__ import annotations

import typer
from rich.markup import escape

from espo_client.commands.arguments import AsJson
from espo_client.console import FAILED, out, print_json
from espo_client.doctor.installation import examine_installation
from espo_client.doctor.machine import (
    examine_folder,
    examine_hub,
    examine_packages,
    examine_python,
    examine_torch,
)
from espo_client.doctor.service import examine_service
from espo_client.home import espo_home
from espo_contracts.finding import Finding

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(as_json: AsJson = False) -> None:
    """Check this installation: packages, folders, database, Redis, store, workers, models, API and key.

    It changes nothing. Exit status: 0 when nothing fails (warnings are no failures), else 1.

    \b
    espo doctor
    ESPO_DATABASE_URL=postgresql://… ESPO_REDIS_URL=redis://… espo doctor --json
    """
    findings = examine()
    if as_json:
        print_json(findings)
    else:
        _show(findings)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(FAILED)


def examine() -> list[Finding]:
    """Every finding, what lies deepest first."""
    home = espo_home()
    return [
        examine_python(),
        examine_packages(),
        examine_torch(),
        examine_hub(),
        *examine_folder(home),
        *examine_installation(home),
        *examine_service(),
    ]


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        style = STYLES[finding.level]
        line = f"[{style}]{finding.level:4}[/] [bold]{finding.check}[/]: {escape(finding.message)}"
        out.print(line, highlight=False, soft_wrap=True)
        if finding.hint:
            out.print(f"     {escape(finding.hint)}", highlight=False, soft_wrap=True)
    counts = {level: sum(one.level == level for one in findings) for level in STYLES}
    out.print(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} wrong", highlight=False)
