"""What every background loop works with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from redis.asyncio import Redis

from api.db import Database
from api.settings import Settings
from api.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Opened once by the process and shared by its loops; `redis` answers bytes."""

    settings: Settings
    database: Database
    redis: Redis
    store: Store
    dispatch_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after a commit that made a job runnable, so that the dispatcher of this process need not poll."""
