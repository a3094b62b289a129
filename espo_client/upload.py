"""A file that tells how much of it was sent."""

from __future__ import annotations

from typing import BinaryIO

from espo_client.download import OnBytes


class CountedFile:
    """As much of a binary file as a multipart upload reads, counting what is read."""

    def __init__(self, file: BinaryIO, on_bytes: OnBytes) -> None:
        self._file = file
        self._on_bytes = on_bytes

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._on_bytes(len(block))
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """A retry starts at the beginning: what was counted is taken back."""
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._on_bytes(after - before)
        return after

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()
