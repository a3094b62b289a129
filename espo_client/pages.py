"""Lists that come page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from espo_client.records import View
from espo_client.transport import Transport

V = TypeVar("V", bound=View)
LARGEST_PAGE = 100


def pages(
    transport: Transport,
    path: str,
    record: type[V],
    *,
    limit: int | None = None,
    parameters: dict[str, Any] | None = None,
) -> Iterator[V]:
    """Every entry of a list, at most `limit`; a page is asked for when the one before it is used up."""
    left, asked = limit, dict(parameters or {})
    while left is None or left > 0:
        size = LARGEST_PAGE if left is None else min(left, LARGEST_PAGE)
        page = transport.request("GET", path, params=asked | {"limit": size}).json()
        yield from (record.model_validate(entry) for entry in page["data"])
        left = None if left is None else left - len(page["data"])
        if not page.get("has_more"):
            return
        asked["after"] = page["last_id"]
