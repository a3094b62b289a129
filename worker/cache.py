"""Files from the store, kept by their hash: data, base models, checkpoints to resume from.

Shared by the workers of a machine. What a run uses is linked into its own folder, so that clearing the cache
never takes a file from a run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from redis import Redis

from espo_contracts.events import FileEntry
from espo_contracts.wire import STORE_PLACE
from espo_transfer import fetch
from espo_transfer.scratch import clear_abandoned, scratch

log = logging.getLogger(__name__)


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
        shutil.rmtree(target, ignore_errors=True)  # of a try before, when the disk was full
        target.mkdir(parents=True)
        for entry in files:
            kept = self._folder / entry.sha256
            fetch(client, STORE_PLACE, entry, kept, stop)
            os.utime(kept)
            _link(kept, target / entry.name)
        self.trim()
        return target

    def adopt(self, folder: Path, files: Iterable[FileEntry]) -> None:
        """Keep the files of a checkpoint that is in the store now: its next attempt need not fetch them.

        What cannot be kept, such as on a full disk, is left out: a run must not end because of it.
        """
        for entry in files:
            try:
                _link(folder / entry.name, self._folder / entry.sha256)
            except FileExistsError:
                continue
            except OSError as error:
                log.warning("%s is not kept in the cache: %s", entry.name, error)
        self.trim()

    def trim(self) -> None:
        """Remove the least recently used files above the size, and what dead transfers left."""
        clear_abandoned(self._folder)
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
    """The same file under another name; a copy where there can be no link, as from one disk to another."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        with scratch(target.parent) as folder:
            shutil.copyfile(source, folder / "copy")
            (folder / "copy").replace(target)
