"""Lists in the shape of OpenAI's: the next page starts `after` the last id of this one."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select, tuple_


class Identified(Protocol):
    """Has an id that a cursor can name."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=BaseModel)

Limit = Annotated[int, Query(ge=1, le=100, description="Items of this page at most.")]
After = Annotated[str | None, Query(max_length=128, description="Id of the last item of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page_of(items: list[Item], *, has_more: bool = False) -> Page[Item]:
    """A page of items that have an `id`."""
    ids = [str(item.id) for item in (items[:1] + items[-1:])]  # type: ignore[attr-defined]
    return Page(
        data=items, has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None
    )


Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])


def by_age(query: Rows, table: Any, *, after: Any | None, limit: int, is_ascending: bool = False) -> Rows:
    """The query for at most `limit` of its rows, newest first, that come beyond the row `after` of the table.

    Ids decide between rows of the same moment.
    """
    age = (table.created_at, table.id)
    if after is not None:
        here = (after.created_at, after.id)
        query = query.where(tuple_(*age) > here if is_ascending else tuple_(*age) < here)
    return query.order_by(*(age if is_ascending else (one.desc() for one in age))).limit(limit)
