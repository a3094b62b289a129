"""Bytes of checkpoints and files, named by their SHA-256: written once, whole or not at all, never changed.

The calls block; the event loop runs them in a thread. One `Store` is shared by every thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """Where bytes lie. Every method takes a hash in lower-case hex; an unknown one raises KeyError."""

    def adopt(self, path: Path, sha256: str) -> None:
        """Moves a verified local file into the store; durable when it returns. Storing it twice is fine."""
        ...

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; shorter only at the end."""
        ...

    def size(self, sha256: str) -> int:
        """Length in bytes."""
        ...

    def local_path(self, sha256: str) -> Path | None:
        """The file to serve from, or None where the bytes lie elsewhere."""
        ...

    def delete(self, sha256: str) -> None:
        """Forgets the bytes; unknown ones too, without an error."""
        ...

    def tidy(self) -> None:
        """Removes what killed processes left half stored."""
        ...

    def probe(self) -> None:
        """Raises OSError when the store cannot be used now."""
        ...


def open_store(url: str) -> Store:
    """The store at a folder's path, or in a bucket at `s3://…`, `gs://…`, `az://…`."""
    if "://" not in url or url.startswith("file://"):
        from api.store.local import LocalStore

        return LocalStore(Path(url.removeprefix("file://")))
    # The object-store client is a big native library; only a deployment that has a bucket pays for it.
    from api.store.bucket import ObjectStore

    return ObjectStore(url)
