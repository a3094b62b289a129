"""Conditional requests (RFC 9110, section 13): who has the newest version is told so, without a body."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IfNoneMatch = Annotated[str | None, Header(max_length=4096, description="ETags that the client has.")]


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this version: the answer is then 304. Compares weakly, as the RFC wants here."""
    if if_none_match is None:
        return False
    given = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in given or etag.removeprefix("W/") in given
