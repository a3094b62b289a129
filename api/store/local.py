"""A folder as a store: `ab/<sha256>`, put there by fsync and rename."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from espo_transfer.digest import sync_folder
from espo_transfer.scratch import clear_abandoned, scratch


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
        if path.stat().st_dev == self._root.stat().st_dev:
            _settle(path, target)
            return
        # A rename across file systems is not atomic: a copy beside the target first.
        with scratch(self._root) as folder:
            copy = folder / sha256
            shutil.copyfile(path, copy)
            _settle(copy, target)
        path.unlink()

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

    def tidy(self) -> None:
        clear_abandoned(self._root)

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


def _settle(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
    sync_folder(target.parent)
