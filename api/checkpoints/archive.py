"""A checkpoint as one tar, made while it is sent: no temporary copy, and the length known beforehand."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from api.store.serving import read_pieces
from api.store.store import Store
from espo_contracts.events import FileEntry

_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The files in a folder of this name, all of one time, so that the same checkpoint is the same tar."""

    folder: str
    time: float
    files: Sequence[FileEntry]

    @property
    def size(self) -> int:
        """Length of the tar in bytes."""
        entries = sum(len(self._header(file)) + file.size + _padding(file.size) for file in self.files)
        return entries + len(_END)

    @property
    def etag(self) -> str:
        listing = "\n".join(f"{file.name} {file.sha256}" for file in self.files)
        return f'"{hashlib.sha256(f"{self.folder} {self.time} {listing}".encode()).hexdigest()}"'

    async def stream(self, store: Store) -> AsyncIterator[bytes]:
        """The tar, piece by piece."""
        for file in self.files:
            yield self._header(file)
            async for piece in read_pieces(store, file.sha256, 0, file.size):
                yield piece
            if padding := _padding(file.size):
                yield bytes(padding)
        yield _END

    def _header(self, file: FileEntry) -> bytes:
        info = tarfile.TarInfo(f"{self.folder}/{file.name}")
        info.size, info.mtime, info.mode = file.size, int(self.time), 0o644
        # GNU's format: sizes over 8 GiB and names over 100 bytes, understood everywhere.
        return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
