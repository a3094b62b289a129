"""The side that wants a file: asks for chunks, at most a window at a time, and verifies what comes.

The requests outstanding are the sender's credits, so a transfer holds at most CHUNK_WINDOW chunks in Redis
whatever the size of the file. Chunks may come late, damaged, twice or never: what is missing is asked again.
"""

from __future__ import annotations

import math
import os
import uuid
from pathlib import Path
from threading import Event
from typing import BinaryIO

from redis import Redis

from espo_contracts.events import FileEntry
from espo_transfer.connection import OUTAGE
from espo_transfer.digest import holds, sync_folder
from espo_transfer.errors import Cancelled, TransferError
from espo_transfer.window import Window

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
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            _receive(Window(client, place, entry, patience_seconds), file, stop)
            file.flush()
            os.fsync(file.fileno())
        if not holds(part, entry):
            raise TransferError(f"{entry.name}: the source's bytes do not have sha256 {entry.sha256}")
        part.replace(target)
        sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


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
            except OUTAGE:
                window.outage()
                stop.wait(_OUTAGE_SECONDS)
    finally:
        window.close()
