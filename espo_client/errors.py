"""What goes wrong on the client's side of the wire.

EspoClientError
├── EspoApiError          the service answered with a problem
├── EspoConnectionError   the service could not be reached
├── DownloadError         the bytes that arrived are not the promised ones
├── CredentialsError      no key, or a file that cannot be read
├── JobFileError          the job file is wrong; nothing was sent
├── ServiceError          `espo up` or `espo run` could not start or keep the services
└── RunError              the job of `espo run` did not end well
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from espo_contracts.validation import FieldError


class EspoClientError(Exception):
    """Base of all errors of this package; its text is meant for people."""


class EspoConnectionError(EspoClientError):
    """The service could not be reached, after all retries."""


class DownloadError(EspoClientError):
    """A file did not arrive as promised."""


class CredentialsError(EspoClientError):
    """There is no usable API key."""


class JobFileError(EspoClientError):
    """A job file cannot be used; `errors` names each wrong field by its JSON path."""

    def __init__(self, message: str, errors: list[FieldError] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []

    @classmethod
    def of(cls, path: Path, errors: list[FieldError]) -> JobFileError:
        """The error of a file with these wrong fields."""
        lines = [f"{path} is not a valid job:", *(f"  {error.loc}: {error.message}" for error in errors)]
        return cls("\n".join(lines), errors)


class ServiceError(EspoClientError):
    """The local services could not be started, or did not stay up."""


class RunError(EspoClientError):
    """A job ended otherwise than succeeded."""


class EspoApiError(EspoClientError):
    """The service's problem+json answer: status, code, detail, wrong fields and the request's id."""

    def __init__(self, *, status: int, problem: dict[str, Any], request_id: str | None) -> None:
        self.status = status
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"HTTP status {status}")
        self.code = _code(problem)
        self.errors = _field_errors(problem.get("errors"))
        self.request_id = request_id
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [self.detail, *(f"  {error.loc}: {error.message}" for error in self.errors)]
        if self.status >= 500 and self.request_id:
            lines.append(f"  request id {self.request_id}: look for it in the API's log")
        return "\n".join(lines)

    @classmethod
    def of(cls, response: httpx.Response) -> EspoApiError:
        """The error of a response whose body has been read; a body that is no problem+json is cut short."""
        try:
            problem = response.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            problem = {"detail": response.text[:200].strip()}
        if not isinstance(problem, dict):
            problem = {"detail": str(problem)[:200]}
        request_id = problem.get("request_id") or response.headers.get("x-request-id")
        return cls(status=response.status_code, problem=problem, request_id=request_id)


def _code(problem: dict[str, Any]) -> str:
    error = problem.get("error")
    code = problem.get("code") or (error.get("code") if isinstance(error, dict) else None)
    return str(code or "")


def _field_errors(errors: Any) -> list[FieldError]:
    """The wrong fields that the answer names; anything else in that place is left out."""
    entries = errors if isinstance(errors, list) else []
    return [
        FieldError(loc=str(entry.get("loc", "$")), message=str(entry.get("message", "")))
        for entry in entries
        if isinstance(entry, dict)
    ]
