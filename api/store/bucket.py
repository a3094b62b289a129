"""A bucket of S3, Google Cloud or Azure as a store; its address and credentials come from the environment."""

from __future__ import annotations

from pathlib import Path

import obstore
from obstore.store import ObjectStore as Bucket
from obstore.store import from_url


class ObjectStore:
    """Objects named `ab/<sha256>` below the URL's prefix."""

    def __init__(self, url: str) -> None:
        self._bucket: Bucket = from_url(url)

    def adopt(self, path: Path, sha256: str) -> None:
        if self._size(sha256) is None:
            obstore.put(self._bucket, _key(sha256), path)
        path.unlink()

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        length = min(length, self.size(sha256) - offset)
        if length <= 0:
            return b""
        return bytes(obstore.get_range(self._bucket, _key(sha256), start=offset, length=length))

    def size(self, sha256: str) -> int:
        size = self._size(sha256)
        if size is None:
            raise KeyError(sha256)
        return size

    def local_path(self, sha256: str) -> Path | None:
        return None

    def delete(self, sha256: str) -> None:
        if self._size(sha256) is not None:
            obstore.delete(self._bucket, _key(sha256))

    def tidy(self) -> None:
        # An object appears whole or not at all; parts of a broken upload are the bucket's lifecycle's to end.
        return

    def probe(self) -> None:
        # Any answer will do, "not found" included: the bucket is there and lets us in.
        self._size("0" * 64)

    def _size(self, sha256: str) -> int | None:
        try:
            return int(obstore.head(self._bucket, _key(sha256))["size"])
        except FileNotFoundError:
            return None


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"
