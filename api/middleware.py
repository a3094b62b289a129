"""What every request passes: an id, a bound on its body, a measurement, and an answer to the unexpected."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping

from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Code, DomainError, problem

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_BOUND = "body_bound"
_STOPPING = DomainError(
    Code.UNAVAILABLE, "this process stops; send the request again", headers={"retry-after": "1"}
)


class RequestIds:
    """Gives each request an id, the caller's own where it is sane, and answers unexpected exceptions.

    Outermost of our middleware: what happens inside always has an id, and the answer always carries it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        is_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            return  # nobody is left to answer
        except (Exception, asyncio.CancelledError) as error:
            if is_started:
                raise  # the server then cuts the connection, so that nobody takes half an answer for a whole
            await _answer(error, scope, receive, send_with_id)


async def _answer(
    error: Exception | asyncio.CancelledError, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answers what nothing else answered. A server that stops cancels what is not done in time, and would
    itself answer 500, which nobody repeats."""
    if isinstance(error, Exception):
        await problem(error, scope)(scope, receive, send)
        return
    await problem(_STOPPING, scope)(scope, receive, send)
    raise error


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class Bounds:
    """Refuses a body as soon as it is seen to be too long: by its declared length, else while it streams.

    Refuses a NUL in the address as well: PostgreSQL has no text with one, so nothing here is called so.
    """

    def __init__(self, app: ASGIApp, *, default: int, by_path: Mapping[str, int]) -> None:
        self._app = app
        self._default = default
        self._by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._by_path.get(scope["path"], self._default)
        too_large = HTTPException(413, f"the request body is longer than {limit} bytes")
        refusal = too_large if _declared_length(scope) > limit else _address_error(scope)
        if refusal is not None:
            await problem(refusal, scope)(scope, receive, send)
            return
        received = 0
        scope.setdefault("state", {})[_BOUND] = (limit, too_large)

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            most, refusal = scope["state"][_BOUND]
            if received > most:
                raise refusal
            return message

        await self._app(scope, receive_bounded, send)


def bound_body(scope: Scope, most: int, refusal: Exception) -> None:
    """Lowers the bound of a request's body, whose rest is refused with `refusal` where it is longer.

    Raises:
        Exception: the refusal, where the declared length says so already.
    """
    if most >= scope["state"][_BOUND][0]:
        return
    if _declared_length(scope) > most:
        raise refusal
    scope["state"][_BOUND] = (most, refusal)


def _address_error(scope: Scope) -> HTTPException | None:
    has_nul = "\0" in scope["path"] or b"%00" in scope["query_string"]
    return HTTPException(400, "the address contains a NUL character") if has_nul else None


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else 0


class Timing:
    """Measures the time to the first byte, by route: a stream's or download's length says nothing."""

    def __init__(self, app: ASGIApp, *, histogram: Histogram) -> None:
        self._app = app
        self._histogram = histogram

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                labels = (scope["method"], _route(scope), str(message["status"]))
                self._histogram.labels(*labels).observe(time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_measured)


def _route(scope: Scope) -> str:
    """The route's template, never the path itself: ids would make endless time series."""
    return str(getattr(scope.get("route"), "path", "none"))
