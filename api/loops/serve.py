"""Sends the store's bytes to workers: data files and the checkpoints from which runs start."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from api.loops.context import Context
from espo_contracts.wire import STORE_PLACE
from espo_transfer import connect, serve


class StoreServer:
    """One thread that answers chunk requests. Several share the work, in one process or in many."""

    def __init__(self, context: Context) -> None:
        self._context = context
        # A thread of its own: one from the shared pool would be missing there as long as the process lives.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="serve-store")

    async def step(self) -> None:
        """Serves until the order to stop."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._serve)

    def _serve(self) -> None:
        with connect(self._context.settings.redis_url) as client:
            serve(client, STORE_PLACE, self._context.store, self._context.stop.thread)
