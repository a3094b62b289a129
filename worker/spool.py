"""Numbered events on disk until the database has them.

Lines of JSON in segments `<first seq>.jsonl`; a segment is deleted when all of it is committed, so the folder
stays small however long the run. It serves this run only: after a crash of the worker the attempt is lost and
its spool with it, so lines are flushed to the system but not synced to the disk. For the same reason memory
is as good: what a full disk refuses is kept there, up to a bound, and the run goes on.
"""

from __future__ import annotations

import logging
import threading
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SEGMENT_BYTES = 4 << 20
MEMORY_SEGMENT_BYTES = 1 << 20
"""With each new segment the disk is asked again."""
MEMORY_BYTES = 64 << 20

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Segment:
    first_seq: int
    path: Path | None
    """None for one in memory."""
    memory: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("Q"))
    """Where each line ends."""

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.ends) - 1

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def is_full(self) -> bool:
        return self.size >= (MEMORY_SEGMENT_BYTES if self.path is None else SEGMENT_BYTES)

    def read(self, start: int, ends: Sequence[int]) -> list[bytes]:
        """The lines that begin at `start` and end at `ends`, without their line ends."""
        content = self._content(start, ends[-1])
        starts = [start, *ends[:-1]]
        return [content[first - start : end - start - 1] for first, end in zip(starts, ends, strict=True)]

    def _content(self, start: int, end: int) -> bytes:
        if self.path is None:
            return bytes(self.memory[start:end])
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


class Spool:
    """Lines numbered from 1, appended by any thread, read by another, forgotten once committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._segments: deque[_Segment] = deque()
        self._file: BinaryIO | None = None
        self.last_seq = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    def append(self, line: bytes) -> None:
        """Add the line of the next number.

        Raises:
            OSError: disk and memory are full; nothing was added.
        """
        with self._lock:
            line += b"\n"
            try:
                segment = self._written(line)
            except OSError as error:
                segment = self._kept_in_memory(line, error)
            segment.ends.append(segment.size + len(line))
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
                path = self._segments.popleft().path
                if path is not None:
                    path.unlink()

    def close(self) -> None:
        """Close the file; the folder is the caller's to remove."""
        with self._lock:
            self._close_file()

    def _written(self, line: bytes) -> _Segment:
        """The segment on disk that has the line now; while one in memory is not full, that one."""
        last = self._segments[-1] if self._segments else None
        if last is not None and last.path is None and not last.is_full:
            last.memory += line
            return last
        if last is None or last.is_full:
            last = self._new_segment(self._folder / f"{self.last_seq + 1}.jsonl")
        self._write(last, line)
        return last

    def _kept_in_memory(self, line: bytes, error: OSError) -> _Segment:
        if sum(len(segment.memory) for segment in self._segments) + len(line) > MEMORY_BYTES:
            raise error
        log.warning("%s: cannot be written (%s); events are kept in memory", self._folder, error)
        if self._segments and not self._segments[-1].ends:
            in_vain = self._segments.pop().path
            if in_vain is not None:
                in_vain.unlink()
        segment = self._new_segment(None)
        segment.memory += line
        return segment

    def _new_segment(self, path: Path | None) -> _Segment:
        self._close_file()
        if path is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        segment = _Segment(path=path, first_seq=self.last_seq + 1)
        self._segments.append(segment)
        return segment

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
            file.seek(segment.size)
            raise

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lines(segment: _Segment, index: int, max_bytes: int) -> list[bytes]:
    start = segment.ends[index - 1] if index else 0
    count = next((at for at, end in enumerate(segment.ends[index:]) if end - start > max_bytes), None)
    ends = segment.ends[index:] if count is None else segment.ends[index : index + max(1, count)]
    return segment.read(start, ends)
