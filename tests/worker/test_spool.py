"""The spool keeps order, stays small, and adds a line wholly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_disk import small_disk
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


def test_a_full_disk_does_not_stop_the_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some on the disk, then in memory, then on the disk again: nobody who reads them sees a difference."""
    monkeypatch.setattr(module, "MEMORY_SEGMENT_BYTES", 2000)
    lines = [b"%d " % number * 100 for number in range(600)]
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        spool = Spool(disk.folder / "spool")
        for number, line in enumerate(lines):
            if number == 200:
                disk.fill()
            if number == 400:
                disk.free()
            spool.append(line)
        kinds = {path is None for path in (segment.path for segment in spool._segments)}
        assert kinds == {True, False}
        for after in (0, 150, 200, 399, 599):
            assert read_all(spool, after) == lines[after:]
        spool.forget(599)
        assert len(list((disk.folder / "spool").iterdir())) == 1
        assert read_all(spool, 599) == lines[599:]
        spool.close()


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        disk.fill()
        spool = Spool(disk.folder / "spool")
        spool.append(b"one")
        spool.append(b"two")
        assert read_all(spool, 0) == [b"one", b"two"]
        spool.close()


def test_when_memory_is_used_up_too_nothing_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 10_000)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        spool = Spool(disk.folder / "spool")
        spool.append(b"on disk")
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            spool.append(b"x" * 10_001)
        assert spool.last_seq == 1
        disk.free()
        spool.append(b"again")
        assert read_all(spool, 0) == [b"on disk", b"again"]
        spool.close()


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
