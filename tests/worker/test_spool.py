"""The spool keeps order, stays small, and adds a line wholly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import spool as module
from worker.spool import Spool


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    return Spool(tmp_path / "spool")


def read_all(spool: Spool, after: int) -> list[bytes]:
    lines: list[bytes] = []
    while more := spool.read(after + len(lines), 50):
        lines += more
    return lines


def test_reads_from_any_seq(spool: Spool) -> None:
    lines = [b"line %d" % number for number in range(1, 101)]
    for line in lines:
        spool.append(line)
    assert spool.last_seq == 100
    for after in (0, 1, 13, 14, 50, 99, 100):
        assert read_all(spool, after) == lines[after:]
    spool.close()


def test_a_line_above_the_limit_still_comes(spool: Spool) -> None:
    spool.append(b"x" * 1000)
    assert spool.read(0, 10) == [b"x" * 1000]
    spool.close()


def test_committed_segments_are_deleted(spool: Spool, tmp_path: Path) -> None:
    for number in range(1, 1001):
        spool.append(b"line %d" % number)
        spool.forget(number - 5)
        assert len(list((tmp_path / "spool").iterdir())) <= 3
    assert read_all(spool, 995) == [b"line %d" % number for number in range(996, 1001)]
    spool.close()


def test_a_full_disk_adds_nothing(spool: Spool) -> None:
    spool.append(b"one")
    good, spool._file = spool._file, _Full(spool._file)  # type: ignore[assignment]
    with pytest.raises(OSError, match="space"):
        spool.append(b"two")
    spool._file = good
    spool.append(b"three")
    assert read_all(spool, 0) == [b"one", b"three"]
    assert spool.last_seq == 2
    spool.close()


class _Full:
    """A file on a disk that fills up in the middle of a write."""

    def __init__(self, file: object) -> None:
        self._file = file
        self._is_full = False

    def write(self, data: bytes) -> int:
        if self._is_full:
            raise OSError(28, "No space left on device")
        self._is_full = True
        return self._file.write(bytes(data)[:2])  # type: ignore[attr-defined, no-any-return]

    def truncate(self, size: int) -> None:
        self._file.truncate(size)  # type: ignore[attr-defined]


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 60), max_size=60), forgotten=st.integers(0, 60))
def test_any_lines_come_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], forgotten: int
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool") / "new")
    lines = [b"%d" % index * size for index, size in enumerate(sizes)]
    for line in lines:
        spool.append(line)
    after = min(forgotten, len(lines))
    spool.forget(after)
    assert read_all(spool, after) == lines[after:]
    spool.close()
