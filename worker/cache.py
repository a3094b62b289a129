"""Files from the store, kept by their hash: data, base models, checkpoints to resume from.

Shared by the workers of a machine. What a run uses is linked into its own folder, so that clearing the cache
never takes a file from a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from redis import Redis

from espo_contracts.events import FileEntry
from espo_contracts.wire import STORE_PLACE
from espo_transfer import fetch

_DEAD_PART_SECONDS = 3600.0


class Cache:
    """A folder of files named by their SHA-256, the least recently used ones removed first."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def bring(self, client: Redis, files: Iterable[FileEntry], target: Path, stop: threading.Event) -> Path:
        """`target`, a new folder with these files under their names.

        Raises:
            TransferError: the store does not have one of them.
            Cancelled: `stop` was set.
            OSError: they cannot be written.
        """
        target.mkdir(parents=True)
        for entry in files:
            kept = self._folder / entry.sha256
            fetch(client, STORE_PLACE, entry, kept, stop)
            os.utime(kept)
            _link(kept, target / entry.name)
        self.trim()
        return target

    def adopt(self, folder: Path, files: Iterable[FileEntry]) -> None:
        """Keep the files of a checkpoint that is in the store now: its next attempt need not fetch them."""
        for entry in files:
            with contextlib.suppress(FileExistsError):
                _link(folder / entry.name, self._folder / entry.sha256)
        self.trim()

    def trim(self) -> None:
        """Remove the least recently used files above the size, and what dead transfers left."""
        for part in self._folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _DEAD_PART_SECONDS:
                    part.unlink()
        free = self._most_bytes
        for _, size, path in sorted(self._listing(), reverse=True):
            free -= size
            if free < 0:
                path.unlink(missing_ok=True)

    def _listing(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of each file."""
        listing = []
        for path in self._folder.glob("[0-9a-f]*"):
            with contextlib.suppress(FileNotFoundError):  # another worker removed it
                status = path.stat()
                listing.append((status.st_mtime, status.st_size, path))
        return listing


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    try:
        target.hardlink_to(source)
    except (PermissionError, NotImplementedError):
        shutil.copyfile(source, target)
