"""`python -m api.doctor`: what this installation's database, Redis, store and models look like, as JSON.

It works with the service running or not, and changes nothing. `espo doctor` shows it to people.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from pydantic import ValidationError

from api.doctor.database import examine_database
from api.doctor.redis import examine_redis
from api.doctor.store import examine_models, examine_store
from api.observability.bounded import within
from api.settings import Settings
from espo_contracts.finding import Finding, fail

EXAMINATION_SECONDS = 20.0


async def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which a job needs the things."""
    examinations: dict[str, Coroutine[Any, Any, list[Finding]]] = {
        "database": examine_database(settings),
        "redis": examine_redis(settings),
        "store": asyncio.to_thread(examine_store, settings),
        "models": asyncio.to_thread(examine_models, settings),
    }
    groups = await asyncio.gather(*(_bounded(name, one) for name, one in examinations.items()))
    return [finding for group in groups for finding in group]


async def _bounded(name: str, examination: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    try:
        return await within(EXAMINATION_SECONDS, examination)
    except TimeoutError:
        return [fail(name, f"no answer in {EXAMINATION_SECONDS:g} s", "Is it reachable from this machine?")]


def main() -> None:
    """Prints a JSON list of findings."""
    try:
        found = asyncio.run(examine(Settings()))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        hint = "Correct the environment variable; README.md lists them."
        found = [fail("settings", f"ESPO_ settings are wrong: {first['loc']}: {first['msg']}", hint)]
    print(json.dumps([finding.model_dump() for finding in found]))


if __name__ == "__main__":
    main()
