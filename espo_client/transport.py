"""HTTP with retries: calls that may be repeated are repeated, with a growing wait, and errors are raised."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from espo_client.errors import EspoApiError, EspoConnectionError

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "DELETE"})
# Nobody there at the first call is told soon; a service that answered before is restarting and comes back.
FIRST_PATIENCE_SECONDS = 4.0
PATIENCE_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
# A body may flow for hours, so only silence is bounded; everything else is answered in milliseconds.
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Patience:
    """How often and how long to try again after a failure."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._failures = 0

    def wait(self, response: httpx.Response | None = None) -> bool:
        """Waits before the next attempt, longer each time; False at once when patience is over."""
        if time.monotonic() >= self._ends_at:
            return False
        self._failures += 1
        time.sleep(_wait_seconds(self._failures, response))
        return True


class Transport:
    """A connection pool to one service, with one key."""

    def __init__(self, *, base_url: str, api_key: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": "espo-client"},
            timeout=TIMEOUT,
            follow_redirects=True,
            # The service on loopback must not be looked for behind a company's proxy.
            trust_env=not is_loopback(self.base_url),
        )
        self._has_answered = False

    def close(self) -> None:
        self._http.close()

    def request(
        self, method: str, path: str, *, is_repeatable: bool | None = None, **arguments: Any
    ) -> httpx.Response:
        """The good answer to a call. `is_repeatable`: sending it twice is harmless; default: by its method.

        Raises:
            EspoApiError: the service refused.
            EspoConnectionError: no answer, after all retries.
        """
        repeatable = method in REPEATABLE_METHODS if is_repeatable is None else is_repeatable
        patience = self.patience()
        while True:
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                # A connection that was refused carried nothing yet.
                may_repeat = repeatable or isinstance(error, httpx.ConnectError)
                if not (may_repeat and patience.wait()):
                    raise self.unreachable(error) from error
                continue
            self._has_answered = True
            if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                return response
            if not (repeatable and should_retry(response) and patience.wait(response)):
                raise EspoApiError.of(response)

    def patience(self) -> Patience:
        """Patience for one thing that the caller wants; a caller that gets on takes a new one."""
        return Patience(PATIENCE_SECONDS if self._has_answered else FIRST_PATIENCE_SECONDS)

    @contextmanager
    def stream(self, method: str, path: str, **arguments: Any) -> Iterator[httpx.Response]:
        """A good answer whose body is read while it comes; one attempt, the caller resumes.

        Raises:
            EspoApiError: the service refused.
        """
        with self._http.stream(method, path, **arguments) as response:
            self._has_answered = True
            if not response.is_success:
                response.read()
                raise EspoApiError.of(response)
            yield response

    def unreachable(self, error: httpx.TransportError) -> EspoConnectionError:
        return EspoConnectionError(
            f"No answer from {self.base_url} ({type(error).__name__}: {error}). "
            "Is the service running? `espo up` starts it."
        )


def should_retry(response: httpx.Response) -> bool:
    """Whether asking again may help: the server's own word first, then the status."""
    word = response.headers.get("x-should-retry")
    if word is not None:
        return bool(word == "true")
    return response.status_code in RETRIED_STATUSES


def _wait_seconds(failures: int, response: httpx.Response | None) -> float:
    """Seconds to wait: what the server asks for, else doubling with each failure, with jitter."""
    asked = response.headers.get("retry-after", "") if response is not None else ""
    if asked.isdigit():
        return min(float(asked), 60.0)
    longest: float = min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_WAIT_SECONDS)
    return longest * (0.5 + random.random() / 2)


def is_loopback(base_url: str) -> bool:
    """Whether the address is of this machine."""
    host = httpx.URL(base_url).host
    return host in {"localhost", "::1"} or host.startswith("127.")
