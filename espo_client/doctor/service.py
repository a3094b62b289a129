"""The API as its clients see it: there, ready, of our version, with a clock and a key that are right."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import httpx

from espo_client.credentials import Credentials, load
from espo_client.errors import CredentialsError
from espo_client.transport import is_loopback
from espo_contracts.finding import Finding, fail, ok, warn

SKEW_SECONDS = 5.0
HINTS = {
    "database": "Is the database up? The API's log has the reason.",
    "migrations": "Run `python -m alembic upgrade head` with the API's ESPO_DATABASE_URL.",
    "store": "Check ESPO_STORE_URL and the space that is left there.",
    "redis": "Is Redis up, and not full? Meanwhile jobs are taken, but none starts.",
}
LOOP_HINT = (
    "Restart it; ESPO_LOOPS says which process runs which loops, and `python -m api.loops` runs them alone."
)


def examine_service() -> list[Finding]:
    """Findings about the service that the credentials name."""
    try:
        credentials = load()
    except CredentialsError as error:
        return [fail("api", str(error), "`espo up` starts a service and makes a key.")]
    base_url = credentials.base_url.rstrip("/")
    with httpx.Client(base_url=base_url, timeout=10.0, trust_env=not is_loopback(base_url)) as http:
        try:
            return [*_readiness(http, base_url), _version(http), _key(http, credentials)]
        except httpx.HTTPError as error:
            hint = "Is it running? `espo up` starts it; ESPO_BASE_URL says where it is looked for."
            return [fail("api", f"no answer from {base_url}: {type(error).__name__}", hint)]
        except ValueError:
            hint = "ESPO_BASE_URL must be the address of the API itself."
            return [fail("api", f"what answers at {base_url} is not this service", hint)]


def _readiness(http: httpx.Client, base_url: str) -> list[Finding]:
    began = time.time()
    answer = http.get("/readyz")
    clock = _clock(answer.headers.get("date", ""), began=began, ended=time.time())
    document = answer.json()
    if not isinstance(document, dict) or "checks" not in document:
        raise ValueError("no readiness")
    checks: dict[str, dict[str, Any]] = document["checks"]
    wrong = [
        fail(f"api {name}", str(check["detail"]), HINTS.get(name, LOOP_HINT))
        for name, check in checks.items()
        if not check["is_ok"]
    ]
    slow = max((float(check["seconds"]) for check in checks.values()), default=0.0)
    state = ok("api", f"{base_url} is {document['status']}; its slowest dependency took {1000 * slow:.0f} ms")
    return [state, *wrong, clock]


def _clock(told: str, *, began: float, ended: float) -> Finding:
    # The header knows whole seconds only.
    moment = parsedate_to_datetime(told).timestamp() if told else began
    skew = max(moment - ended, began - 1.0 - moment, 0.0)
    if skew <= SKEW_SECONDS:
        return ok("api clock", "agrees with this machine's")
    hint = "Let both machines keep time by NTP: ages and waiting times are wrong by as much."
    return warn("api clock", f"differs from this machine's by {skew:.0f} s", hint)


def _version(http: httpx.Client) -> Finding:
    theirs, ours = str(http.get("/openapi.json").json()["info"]["version"]), version("espo")
    if theirs == ours:
        return ok("api version", theirs)
    return warn("api version", f"{theirs}, and this client is {ours}", "Update the older one.")


def _key(http: httpx.Client, credentials: Credentials) -> Finding:
    headers = {"Authorization": f"Bearer {credentials.api_key}"}
    status = http.get("/v1/jobs", params={"limit": 1}, headers=headers).status_code
    if status == httpx.codes.OK:
        return ok("api key", "accepted")
    if status == httpx.codes.UNAUTHORIZED:
        hint = "`espo up` writes a new one; elsewhere `python -m api.auth create`, or set ESPO_API_KEY."
        return fail("api key", "the service does not know it", hint)
    if status == httpx.codes.FORBIDDEN:
        return warn("api key", "it may not read", "Make one with the scopes read,write.")
    return fail("api key", f"the service answered with status {status}", "Look at the API's log.")
