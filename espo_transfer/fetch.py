"""The side that wants a file: asks for chunks, at most a window at a time, and verifies what comes.

The requests outstanding are the sender's credits, so a transfer holds at most CHUNK_WINDOW chunks in Redis
whatever the size of the file. Chunks may come late, damaged, twice or never: what is missing is asked again.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from threading import Event
from typing import BinaryIO

from redis import Redis
from redis.exceptions import RedisError

from espo_contracts.events import FileEntry
from espo_transfer.connection import will_pass
from espo_transfer.digest import holds, sync_folder
from espo_transfer.errors import Cancelled, TransferError
from espo_transfer.scratch import scratch
from espo_transfer.window import Window

_TRIES = 3
"""Whole transfers before a wrong hash is the source's: a chunk may be changed together with its checksum."""
_OUTAGE_SECONDS = 0.5


def fetch(
    client: Redis,
    place: str,
    entry: FileEntry,
    target: Path,
    stop: Event,
    patience_seconds: float = math.inf,
) -> None:
    """Put the file `entry`, held by whoever serves `place`, at `target`; nothing if it is there already.

    `target` appears whole and verified or not at all. Outages of Redis are waited out; a source that says
    nothing for `patience_seconds`, while Redis answers, is given up.

    Raises:
        TransferError: the source has no such file, sends other bytes, or is silent for too long.
        Cancelled: `stop` was set.
        OSError: the file cannot be written.
    """
    if holds(target, entry):
        return
    with scratch(target.parent) as folder:
        part = folder / "part"
        for _ in range(_TRIES):
            with part.open("wb") as file:
                _receive(Window(client, place, entry, patience_seconds), file, stop)
                file.flush()
                os.fsync(file.fileno())
            if holds(part, entry):
                break
        else:
            raise TransferError(f"{entry.name}: the source's bytes do not have sha256 {entry.sha256}")
        part.replace(target)
        sync_folder(target.parent)


def _receive(window: Window, file: BinaryIO, stop: Event) -> None:
    """Write every chunk of the window's file, in the order in which they come."""
    try:
        while not window.is_complete:
            if stop.is_set():
                raise Cancelled
            try:
                for offset, chunk in window.exchange():
                    file.seek(offset)
                    file.write(chunk)
            except RedisError as error:
                if not will_pass(error):
                    raise TransferError(f"{window.name}: Redis refuses its keys: {error}") from error
                window.outage()
                stop.wait(_OUTAGE_SECONDS)
    finally:
        window.close()
