"""A worker whose disk is full: events go on, a run waits for its files, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from espo_contracts.events import Finished, Log, Metrics
from espo_contracts.wire import StoredFiles
from espo_transfer import entry_of
from tests.small_disk import small_disk
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import Supervision, spec_of
from worker.supervisor import Site
from worker.wishes import Wish


def stored_step(api: ApiSide) -> StoredFiles:
    """A checkpoint in the store, of 200 kB."""
    files = []
    for name, content in (("step.txt", b"4"), ("model.bin", bytes(200_000))):
        path = api.store.parent / name
        path.write_bytes(content)
        files.append(entry_of(path))
        path.rename(api.store / files[-1].sha256)
    return StoredFiles(files=files, step=4)


def has_warned(api: ApiSide) -> bool:
    return any(isinstance(event, Log) and "disk" in event.message for event in api.events)


def test_a_run_goes_on_though_its_spool_finds_no_room(site: Site, api: ApiSide) -> None:
    with small_disk(site.folder, 1 << 20) as disk:
        disk.fill()
        api.start_attempt(spec_of("metrics:500 finish:500"))
        with api.running():
            Supervision(site, api).join()
    assert [event.step for event in api.events if isinstance(event, Metrics)] == list(range(1, 501))
    assert api.events[-1] == Finished(step=500)


def test_a_run_waits_for_the_files_that_have_no_room(site: Site, api: ApiSide, tmp_path: Path) -> None:
    with small_disk(tmp_path / "cache", 1 << 20) as disk:
        disk.fill()
        api.start_attempt(spec_of("metrics:3 finish:3"), stored_step(api))
        with api.running():
            supervision = Supervision(site, api)
            wait_for(lambda: has_warned(api))
            assert not supervision.is_over
            disk.free()
            supervision.join()
        assert [path.name for path in disk.folder.iterdir() if path.name.startswith(".")] == []
    assert [event for event in api.events if isinstance(event, Log)] == [
        Log(level="warning", message="the disk of worker test-1 is full: the run begins when there is space")
    ]
    assert api.events[-1] == Finished(step=3)


def test_a_run_that_waits_for_room_can_be_handed_back(site: Site, api: ApiSide, tmp_path: Path) -> None:
    with small_disk(tmp_path / "cache", 1 << 20) as disk:
        disk.fill()
        api.start_attempt(spec_of("finish:3"), stored_step(api))
        with api.running():
            supervision = Supervision(site, api)
            wait_for(lambda: has_warned(api))
            supervision.wishes.add(Wish.HAND_BACK)
            supervision.join()
    assert api.events[-1] == Finished(outcome="handed_back", step=4)
