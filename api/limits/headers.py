"""How a key stands with its rate limit, on every answer (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits.rate import Verdict

RATE_STATE = "rate_limit"
"""Name of the request's state that has the verdict."""


class RateHeaders:
    """Adds `RateLimit-Policy` and `RateLimit` to answers and refusals alike."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            verdict: Verdict | None = scope.get("state", {}).get(RATE_STATE)
            if verdict is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["ratelimit-policy"] = verdict.rate.policy
                headers["ratelimit"] = verdict.state
            await send(message)

        await self._app(scope, receive, send_with_headers)
