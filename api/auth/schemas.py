"""Bodies of keys."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.auth.keys import Scope
from api.auth.models import ApiKey

_LATEST = 4_102_444_800.0
"""The year 2100: times beyond are mistakes, milliseconds as a rule."""
DAY_SECONDS = 86_400

Expiry = Annotated[float, Field(gt=0, le=_LATEST, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class NewKey(_Body):
    """A key that is wanted."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")] = "key"
    """What the key is for."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = [Scope.READ, Scope.WRITE]
    """`admin` may everything; `write` does not read."""
    expires_at: Expiry | None = None
    """When it ends, in seconds since the epoch; null: never."""


class Rotation(_Body):
    """How a key is replaced."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * DAY_SECONDS)] = DAY_SECONDS
    """How long the old key still works beside the new one."""
    expires_at: Expiry | None = None
    """When the new key ends; null: it lasts as long as the old one was to."""


class KeyObject(BaseModel):
    """An API key without its secret. Times are seconds since the epoch."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    prefix: str
    """The secret's first characters, to recognise it by."""
    scopes: list[Scope]
    is_active: bool
    """Whether it works now: neither revoked nor expired."""
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    """To the minute; null: never."""


class MadeKey(KeyObject):
    """A new key, with its secret."""

    secret: str
    """Shown this once; only its hash is stored."""


def key_object(row: ApiKey) -> KeyObject:
    """The row as the API shows it."""
    return KeyObject(**_fields(row))


def made_key(row: ApiKey, secret: str) -> MadeKey:
    """The row of a new key, with its secret."""
    return MadeKey(**_fields(row), secret=secret)


def _fields(row: ApiKey) -> dict[str, object]:
    names = KeyObject.model_fields.keys() - {"object", "is_active"}
    return {name: getattr(row, name) for name in names} | {"is_active": row.is_active(time.time())}
