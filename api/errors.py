"""Domain errors, and the one place that turns every failure into an answer.

The body is RFC 9457 problem+json; beside it `error: {message, type, param, code}`, from which the OpenAI SDK
takes the text that it shows. Services raise `DomainError`; its `code` is stable, for programs.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from espo_contracts.validation import FieldError, json_path

log = logging.getLogger(__name__)


class Code(StrEnum):
    """What went wrong, for programs."""

    INVALID_REQUEST = "invalid_request"
    INVALID_SPEC = "invalid_spec"
    INVALID_FILE = "invalid_file"
    INVALID_API_KEY = "invalid_api_key"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    STATE_CONFLICT = "state_conflict"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    TOO_MANY_STREAMS = "too_many_streams"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    STORAGE_FULL = "storage_full"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


STATUS: dict[Code, int] = {
    Code.INVALID_REQUEST: 400,
    Code.INVALID_SPEC: 422,
    Code.INVALID_FILE: 422,
    Code.INVALID_API_KEY: 401,
    Code.INSUFFICIENT_SCOPE: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.STATE_CONFLICT: 409,
    Code.IDEMPOTENCY_CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.RANGE_NOT_SATISFIABLE: 416,
    Code.TOO_MANY_STREAMS: 429,
    Code.RATE_LIMITED: 429,
    Code.QUOTA_EXCEEDED: 429,
    Code.STORAGE_FULL: 403,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}

# What a plain HTTP status of the framework means in our words; the first code of a status wins.
_CODES = {status: code for code, status in reversed(STATUS.items())}
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class DomainError(Exception):
    """A refusal, in words for its reader. `errors` names each thing that is wrong by its JSON path, `members`
    are more members of the problem, for programs."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def not_found(noun: str, identifier: str) -> DomainError:
    """The answer to an id that is not there, or is another project's: nobody learns which."""
    return DomainError(Code.NOT_FOUND, f"no {noun} {identifier[:128]!r}")


def invalid(loc: str, message: str) -> DomainError:
    """The answer to one wrong parameter."""
    return DomainError(
        Code.INVALID_REQUEST, f"{loc}: {message}", errors=[FieldError(loc=loc, message=message)]
    )


def install_handlers(app: FastAPI) -> None:
    """Makes the app answer every failure as a problem."""
    app.add_exception_handler(DomainError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    return problem(_as_domain_error(error), request.scope)


def _as_domain_error(error: Exception) -> DomainError:
    if isinstance(error, DomainError):
        return error
    if isinstance(error, RequestValidationError):
        errors = [FieldError(loc=json_path(item["loc"]), message=item["msg"]) for item in error.errors()]
        return DomainError(Code.INVALID_REQUEST, _summary(errors), errors=errors)
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, Code.INVALID_REQUEST)
        return DomainError(code, error.detail, headers=error.headers)
    log.error("unexpected error", exc_info=error)
    if isinstance(error, OperationalError) or getattr(error, "errno", None) == errno.ENOSPC:
        # No defect: the database is away, or the disk is full. Both pass, so the client may try again.
        message = "the database or the disk cannot be used now"
        return DomainError(Code.UNAVAILABLE, message, headers={"retry-after": "2"})
    return DomainError(Code.INTERNAL, "an unexpected error; the server's log has it under this request id")


def problem(error: Exception, scope: Mapping[str, Any]) -> JSONResponse:
    """The answer to an error, of whatever kind."""
    refusal = _as_domain_error(error)
    status = STATUS[refusal.code]
    headers = refusal.headers
    if status == 409:
        # The OpenAI SDK would send a conflict again, twice, to the same end.
        headers = {**headers, "x-should-retry": "false"}
    body = _body(refusal, status, request_id=scope.get("state", {}).get("request_id"))
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _body(error: DomainError, status: int, *, request_id: str | None) -> dict[str, Any]:
    return error.members | {
        "type": f"urn:espo:problem:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "errors": [item.model_dump() for item in error.errors],
        "request_id": request_id,
        "error": {
            "message": error.message,
            "type": _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            "param": error.errors[0].loc if error.errors else None,
            "code": error.code,
        },
    }


def _summary(errors: Sequence[FieldError]) -> str:
    return "; ".join(f"{error.loc}: {error.message}" for error in errors[:8]) or "the request is not valid"
