"""Bodies of the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class AuditObject(BaseModel):
    """One call that changed something. Times are seconds since the epoch."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    id: str
    object: Literal["audit.entry"] = "audit.entry"
    created_at: float
    key_id: str | None
    """The key that called; null: the operator, by a command on the server."""
    action: str
    """The operation, such as `cancel_job` or `create_key`."""
    object_id: str | None
    """Id of what was changed or made."""
    request_id: str | None


_Text = Annotated[str | None, Field(max_length=128)]


class AuditFilter(BaseModel):
    """What a list is to be about; all of it together."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    action: _Text = None
    """Such as `cancel_job`."""
    object_id: _Text = None
    """Id of a job, file or key."""
    key_id: _Text = None
    """Id of the key that called."""
