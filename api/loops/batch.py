"""Entries of one job's stream as events: only those that follow the watermark without a gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from espo_contracts.events import Failed, Finished, NumberedEvent
from espo_contracts.wire import EVENT_FIELD

Entry = tuple[bytes, Mapping[bytes, bytes] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far an attempt is in the database."""

    attempt: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one read found behind a cursor."""

    cursor: Cursor
    events: tuple[NumberedEvent, ...]
    poison: str | None = None
    """Why the entry after `events` can never be accepted."""
    is_broken: bool = False
    """The stream does not continue the cursor: a gap, or entries of another attempt."""

    @property
    def last_seq(self) -> int:
        return self.events[-1].seq if self.events else self.cursor.last_seq


class _PoisonError(Exception):
    """An entry that is no event; the message names it without its content."""


def read_batch(cursor: Cursor, entries: Iterable[Entry]) -> Batch:
    """The longest acceptable beginning of the entries, and what stopped it."""
    events: list[NumberedEvent] = []
    for entry_id, fields in entries:
        if entry_id.decode() != f"{cursor.attempt}-{cursor.last_seq + len(events) + 1}":
            return Batch(cursor=cursor, events=tuple(events), is_broken=True)
        try:
            event = _event(entry_id, fields)
        except _PoisonError as error:
            return Batch(cursor=cursor, events=tuple(events), poison=str(error))
        events.append(event)
        if isinstance(event.event, Finished | Failed):
            break  # nothing can follow
    return Batch(cursor=cursor, events=tuple(events))


def _event(entry_id: bytes, fields: Mapping[bytes, bytes] | None) -> NumberedEvent:
    name = entry_id.decode()
    try:
        event = NumberedEvent.model_validate_json((fields or {}).get(EVENT_FIELD.encode(), b""))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _PoisonError(f"event {name} is not valid: {place}: {first['msg']}") from None
    if name != f"{event.attempt}-{event.seq}":
        raise _PoisonError(f"event {name} calls itself {event.attempt}-{event.seq}")
    return event
