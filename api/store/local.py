"""A folder as a store: `ab/<sha256>`, put there by fsync and rename."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from espo_transfer.digest import sync_folder


class LocalStore:
    """A folder on a local or shared file system."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._root.mkdir(parents=True, exist_ok=True)

    def adopt(self, path: Path, sha256: str) -> None:
        target = self._path(sha256)
        if target.exists():
            path.unlink()
            return
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            sync_folder(self._root)
        source = self._on_this_file_system(path)
        _sync_file(source)
        source.replace(target)
        sync_folder(target.parent)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        with self._known(sha256).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def size(self, sha256: str) -> int:
        return self._known(sha256).stat().st_size

    def local_path(self, sha256: str) -> Path | None:
        return self._known(sha256)

    def delete(self, sha256: str) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def probe(self) -> None:
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to {self._root}")

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _known(self, sha256: str) -> Path:
        path = self._path(sha256)
        if not path.is_file():
            raise KeyError(sha256)
        return path

    def _on_this_file_system(self, path: Path) -> Path:
        """The file itself, or a copy beside the target: a rename across file systems is not atomic."""
        if path.stat().st_dev == self._root.stat().st_dev:
            return path
        incoming = self._root / f".{uuid.uuid4().hex}.part"
        try:
            shutil.copyfile(path, incoming)
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        path.unlink()
        return incoming


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
