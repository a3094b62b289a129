"""Where bytes wait on their way into the store: each upload and each file in a folder of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from espo_transfer.scratch import clear_abandoned, scratch


def _parent(home: Path) -> Path:
    return home / "tmp"


@asynccontextmanager
async def incoming(home: Path) -> AsyncIterator[Path]:
    """A new folder under the data folder, gone with what is left in it at the end of the block.

    Raises:
        OSError: the disk is full.
    """
    folder = scratch(_parent(home))
    path = await asyncio.to_thread(folder.__enter__)
    try:
        yield path
    finally:
        await asyncio.to_thread(folder.__exit__, None, None, None)


def clear_incoming(home: Path) -> None:
    """Removes the folders of processes that were killed."""
    clear_abandoned(_parent(home))
