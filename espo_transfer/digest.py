"""Hashes of files on disk."""

import hashlib
import os
from pathlib import Path

from espo_contracts.events import FileEntry


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry_of(path: Path) -> FileEntry:
    """The FileEntry of a file: its name, its size in bytes and its hash."""
    return FileEntry(name=path.name, size=path.stat().st_size, sha256=sha256_of(path))


def holds(path: Path, entry: FileEntry) -> bool:
    """Whether `path` has the size and the hash of `entry`."""
    return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256


def sync_folder(folder: Path) -> None:
    """Make the renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
