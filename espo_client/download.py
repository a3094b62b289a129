"""Downloads that continue where they broke off, and that leave only files whose hash is the promised one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx

from espo_client.errors import DownloadError
from espo_client.transport import Transport
from espo_contracts.events import FileEntry

OnBytes = Callable[[int], None]
"""Called with the bytes that came to the disk since the last call; negative: some were thrown away."""


def download_folder(
    transport: Transport, files: dict[str, FileEntry], target: Path, on_bytes: OnBytes
) -> Path:
    """The folder `target` with every file of `files` (by URL); it appears when its last file is complete.

    Raises:
        DownloadError: a file does not have the promised hash, or `target` is no folder.
        EspoApiError, EspoConnectionError: as the transport.
    """
    if target.exists() and not target.is_dir():
        raise DownloadError(f"{target} is a file: give a folder, or remove it")
    folder = target if target.exists() else target.with_name(f".{target.name}.part")
    folder.mkdir(parents=True, exist_ok=True)
    for url, entry in files.items():
        download_file(transport, url, entry, folder / entry.name, on_bytes)
    if folder != target:
        folder.rename(target)
    return target


def download_file(transport: Transport, url: str, entry: FileEntry, target: Path, on_bytes: OnBytes) -> None:
    """Leaves the file at `target`, fetching only what is not there yet.

    Raises:
        DownloadError: twice the bytes had another hash.
    """
    if target.is_file() and _sha256(target) == entry.sha256:
        on_bytes(entry.size)
        return
    part = target.with_name(f".{target.name}.part")
    for _ in range(2):
        _fetch(transport, url, entry, part, on_bytes)
        if _sha256(part) == entry.sha256:
            part.replace(target)
            return
        on_bytes(-part.stat().st_size)
        part.unlink()
    raise DownloadError(f"{entry.name} arrived twice with another hash than {entry.sha256}")


def _fetch(transport: Transport, url: str, entry: FileEntry, part: Path, on_bytes: OnBytes) -> None:
    """Appends to `part` until it has the size of `entry`; gives up when nothing comes for long."""
    with part.open("ab") as file:
        _cut(file, entry.size)
        on_bytes(file.tell())
        patience = transport.patience()
        while file.tell() < entry.size:
            before = file.tell()
            error = _append(transport, url, file, on_bytes)
            if file.tell() > before:
                patience = transport.patience()
            elif not patience.wait():
                raise transport.unreachable(error or httpx.ReadError("the connection closed early"))


def _append(transport: Transport, url: str, file: BinaryIO, on_bytes: OnBytes) -> httpx.TransportError | None:
    """Asks for what is missing and appends it as it comes; returns what broke the connection, if it broke."""
    start = file.tell()
    try:
        with transport.stream("GET", url, headers=_range(start)) as response:
            if response.status_code != httpx.codes.PARTIAL_CONTENT and start:
                on_bytes(-start)
                file.truncate(0)
                file.seek(0)
            for block in response.iter_raw(1 << 20):
                file.write(block)
                on_bytes(len(block))
    except httpx.TransportError as error:
        return error
    return None


def _range(start: int) -> dict[str, str]:
    # Offsets count bytes of the file, so it must come uncompressed.
    return {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}


def _cut(file: BinaryIO, size: int) -> None:
    """A part longer than the file is of something else."""
    file.seek(0, 2)
    if file.tell() > size:
        file.truncate(0)
        file.seek(0)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
