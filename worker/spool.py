"""Numbered events on disk until the database has them.

Lines of JSON in segments `<first seq>.jsonl`; a segment is deleted when all of it is committed, so the folder
stays small however long the run. It serves this run only: after a crash of the worker the attempt is lost and
its spool with it, so lines are flushed to the system but not synced to the disk.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SEGMENT_BYTES = 4 << 20


@dataclass(slots=True, kw_only=True)
class _Segment:
    path: Path
    first_seq: int
    ends: array[int] = field(default_factory=lambda: array("Q"))
    """Where each line ends in the file."""

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.ends) - 1

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0


class Spool:
    """Lines numbered from 1, appended by any thread, read by another, forgotten once committed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._segments: deque[_Segment] = deque()
        self._file: BinaryIO | None = None
        self.last_seq = 0

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    def append(self, line: bytes) -> None:
        """Add the line of the next number.

        Raises:
            OSError: the disk is full; nothing was added.
        """
        with self._lock:
            if not self._segments or self._segments[-1].size >= SEGMENT_BYTES:
                self._open_segment()
            segment = self._segments[-1]
            self._write(segment, line + b"\n")
            segment.ends.append(segment.size + len(line) + 1)
            self.last_seq += 1

    def read(self, after_seq: int, max_bytes: int) -> list[bytes]:
        """Lines in order from `after_seq` + 1 on, at most `max_bytes`, but at least one if there is one."""
        with self._lock:
            for segment in self._segments:
                if segment.first_seq <= after_seq + 1 <= segment.last_seq:
                    return _lines(segment, after_seq + 1 - segment.first_seq, max_bytes)
        return []

    def forget(self, committed: int) -> None:
        """Delete the segments of which every line is committed."""
        with self._lock:
            while len(self._segments) > 1 and self._segments[0].last_seq <= committed:
                self._segments.popleft().path.unlink()

    def close(self) -> None:
        """Close the file; the folder is the caller's to remove."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open_segment(self) -> None:
        path = self._folder / f"{self.last_seq + 1}.jsonl"
        file = path.open("ab", buffering=0)
        if self._file is not None:
            self._file.close()
        self._file = file
        self._segments.append(_Segment(path=path, first_seq=self.last_seq + 1))

    def _write(self, segment: _Segment, line: bytes) -> None:
        """All of the line or, when the disk is full, nothing of it."""
        file = self._file
        if file is None:
            raise OSError("the spool is closed")
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(segment.size)
            raise


def _lines(segment: _Segment, index: int, max_bytes: int) -> list[bytes]:
    start = segment.ends[index - 1] if index else 0
    with segment.path.open("rb") as file:
        file.seek(start)
        lines: list[bytes] = []
        for end in segment.ends[index:]:
            if lines and end - start > max_bytes:
                break
            lines.append(file.readline())
    return [line[:-1] for line in lines]
