from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from api.loops.context import Context
from api.loops.holds import Holds
from api.loops.ingest import Ingester
from api.loops.receive import Receiver
from api.loops.runner import keep_going
from api.loops.serve import StoreServer
from api.store import repository
from api.store.local import LocalStore
from espo_contracts.events import Checkpoint, FileEntry
from espo_contracts.wire import STORE_PLACE, UPLOADS_KEY, Upload, receiving_key, upload_field
from espo_transfer import FolderSource, Source, connect, entry_of, fetch, serve
from tests.api.loops.actors import HandWorker, checkpoints_of, dispatched, eventually, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import STARTED
from tests.chaos.faults.chunks import spoil_chunks, spoil_requests


@pytest.fixture
async def worker(context: Context, make_job: MakeJob) -> HandWorker:
    return await dispatched(context, await make_job())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 10_000)
    return folder


@pytest.fixture
async def receiving(context: Context) -> AsyncIterator[Receiver]:
    """A receiver at work, twice at once."""
    receiver = Receiver(context)
    tasks = [asyncio.create_task(keep_going("receive", receiver.step, context.stop)) for _ in range(2)]
    yield receiver
    context.stop.set()
    await asyncio.gather(*tasks)


def files_of(folder: Path) -> list[FileEntry]:
    return [entry_of(path) for path in sorted(folder.iterdir())]


def content(path: Path) -> bytes:
    return path.read_bytes()


async def offer(context: Context, worker: HandWorker, files: list[FileEntry]) -> str:
    field = upload_field(worker.job_id, worker.attempt, 5)
    upload = Upload(job=worker.job_id, attempt=worker.attempt, step=5, files=files)
    await context.redis.hset(UPLOADS_KEY, field, upload.model_dump_json())
    return field


async def answer(context: Context, field: str) -> Upload:
    async def is_answered() -> bool:
        return (await state()).state != "offered"

    async def state() -> Upload:
        return Upload.model_validate_json(await context.redis.hget(UPLOADS_KEY, field))

    await eventually(is_answered)
    return await state()


class CountingSource(FolderSource):
    bytes_read = 0

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        found = super().read(sha256, offset, length)
        self.bytes_read += len(found)
        return found


def paths_of(folder: Path) -> dict[str, Path]:
    return {entry_of(path).sha256: path for path in folder.iterdir()}


def source_of(folder: Path) -> FolderSource:
    return FolderSource(paths_of(folder))


def serving(context: Context, field: str, source: Source) -> asyncio.Task[None]:
    """A worker's side that sends until the test's end."""

    def run() -> None:
        with connect(context.settings.redis_url) as client:
            serve(client, field, source, context.stop.thread)

    return asyncio.create_task(asyncio.to_thread(run))


@pytest.mark.usefixtures("receiving")
async def test_a_checkpoint_travels_into_the_store_and_becomes_visible(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    files = files_of(folder)
    sending = serving(context, await offer(context, worker, files), source_of(folder))
    assert (await answer(context, upload_field(worker.job_id, 1, 5))).state == "stored"
    for entry in files:
        assert context.store.read(entry.sha256, 0, entry.size) == content(folder / entry.name)
    assert files_of(context.settings.home / "tmp") == []
    assert await checkpoints_of(context.database, worker.job_id) == []
    await worker.emit(STARTED, Checkpoint(step=5, files=files, metrics={"reward/mean": 0.5}))
    await Ingester(context).step()
    assert await checkpoints_of(context.database, worker.job_id) == [5]
    context.stop.set()
    await sending


async def test_offers_with_a_file_in_common_are_received_at_once(
    context: Context, make_job: MakeJob, folder: Path
) -> None:
    workers = [await dispatched(context, await make_job(created_at=float(age))) for age in range(2)]
    fields = [await offer(context, worker, files_of(folder)) for worker in workers]
    sending = [serving(context, field, source_of(folder)) for field in fields]
    receiver = Receiver(context)
    await asyncio.gather(receiver.step(), receiver.step())
    assert [(await answer(context, field)).state for field in fields] == ["stored", "stored"]
    assert files_of(context.settings.home / "tmp") == []
    context.stop.set()
    await asyncio.gather(*sending)


async def test_two_ingesters_send_an_offer_once(context: Context, worker: HandWorker, folder: Path) -> None:
    """Each with a receiver of its own, as two processes have."""
    field = await offer(context, worker, files_of(folder))
    source = CountingSource(paths_of(folder))
    sending = serving(context, field, source)
    await asyncio.gather(*(Receiver(context).step() for _ in range(3)))
    assert (await answer(context, field)).state == "stored"
    assert source.bytes_read == sum(entry.size for entry in files_of(folder))
    assert await context.redis.exists(receiving_key(field)) == 0
    context.stop.set()
    await sending


async def test_the_offer_of_a_killed_ingester_is_taken_by_another(
    context: Context, worker: HandWorker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.loops.holds.RECEIVING_SECONDS", 1)
    field = await offer(context, worker, files_of(folder))
    assert await Holds(context.redis).take(field)  # and no more is heard of it
    sending = serving(context, field, source_of(folder))
    receiver = Receiver(context)

    async def is_stored() -> bool:
        await receiver.step()
        return Upload.model_validate_json(await context.redis.hget(UPLOADS_KEY, field)).state == "stored"

    await eventually(is_stored)
    context.stop.set()
    await sending


async def test_a_hold_is_kept_as_long_as_the_transfer_and_not_longer(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.loops.holds.RECEIVING_SECONDS", 1)
    ours, other = Holds(context.redis), Holds(context.redis)
    assert await ours.take("x:1:1")
    async with ours.kept("x:1:1"):
        for _ in range(5):
            await asyncio.sleep(0.3)
            assert not await other.take("x:1:1")
    assert await other.take("x:1:1")
    async with ours.kept("x:1:1"):
        pass
    assert await context.redis.exists(receiving_key("x:1:1"))  # not ours to let go


async def test_an_answer_to_an_offer_that_was_withdrawn_leaves_nothing(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    field = await offer(context, worker, files_of(folder))
    source = source_of(folder)

    class Withdrawing(FolderSource):
        def read(self, sha256: str, offset: int, length: int) -> bytes:
            with connect(context.settings.redis_url) as client:
                client.hdel(UPLOADS_KEY, field)
            return source.read(sha256, offset, length)

    sending = serving(context, field, Withdrawing({}))
    await Receiver(context).step()
    assert await context.redis.hgetall(UPLOADS_KEY) == {}
    context.stop.set()
    await sending


async def test_a_checkpoint_arrives_whole_through_garbage(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    (folder / "large.safetensors").write_bytes(bytes(range(251)) * 80_000)
    files = files_of(folder)
    field = await offer(context, worker, files)
    random, is_over = Random(7), threading.Event()

    def spoil() -> None:
        with connect(context.settings.redis_url) as client:
            while not is_over.wait(0.002):
                spoil_chunks(client, random)
                spoil_requests(client, random)

    spoiling = asyncio.create_task(asyncio.to_thread(spoil))
    sending = serving(context, field, source_of(folder))
    await Receiver(context).step()
    is_over.set()
    await spoiling
    assert (await answer(context, field)).state == "stored"
    for entry in files:
        assert context.store.read(entry.sha256, 0, entry.size) == content(folder / entry.name)
    context.stop.set()
    await sending


@pytest.mark.usefixtures("receiving")
async def test_known_bytes_are_not_sent_again(context: Context, worker: HandWorker, folder: Path) -> None:
    """Nobody serves the field: an answer can only come from what the store has."""
    files = files_of(folder)
    for entry in files:
        context.store.adopt(folder / entry.name, entry.sha256)
    field = await offer(context, worker, files)
    assert (await answer(context, field)).state == "stored"
    async with context.database.read() as session:
        assert await repository.used_bytes(session) == sum(entry.size for entry in files)


@pytest.mark.usefixtures("receiving")
async def test_an_offer_of_an_attempt_that_is_over_is_refused(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    worker.attempt = 7
    field = await offer(context, worker, files_of(folder))
    refused = await answer(context, field)
    assert (refused.state, refused.reason) == ("refused", "the attempt is over")


async def test_a_full_disk_leaves_the_offer_standing(
    context: Context, worker: HandWorker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    field = await offer(context, worker, files_of(folder))
    sending = serving(context, field, source_of(folder))
    receiver = Receiver(context)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "adopt", full)
        await receiver.step()
    upload = Upload.model_validate_json(await context.redis.hget(UPLOADS_KEY, field))
    assert upload.state == "offered"
    monkeypatch.setattr("api.loops.receive.REST_SECONDS", 0.0)
    await Receiver(context).step()
    assert (await answer(context, field)).state == "stored"
    context.stop.set()
    await sending


async def test_an_unreadable_offer_is_dropped(context: Context) -> None:
    await context.redis.hset(UPLOADS_KEY, "x:1:1", "nonsense")
    await Receiver(context).step()
    assert await context.redis.hgetall(UPLOADS_KEY) == {}


async def test_a_checkpoint_without_its_bytes_is_not_listed(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    await worker.emit(STARTED, Checkpoint(step=5, files=files_of(folder)))
    await Ingester(context).step()
    assert await checkpoints_of(context.database, worker.job_id) == []
    assert (await job_of(context.database, worker.job_id)).status == "running"


async def test_workers_fetch_from_the_store(context: Context, folder: Path, tmp_path: Path) -> None:
    path = folder / "model.safetensors"
    entry = entry_of(path)
    context.store.adopt(path, entry.sha256)
    server = asyncio.create_task(StoreServer(context).step())
    target = tmp_path / "cache" / entry.name
    with connect(context.settings.redis_url) as client:
        await asyncio.to_thread(fetch, client, STORE_PLACE, entry, target, context.stop.thread)
    assert entry_of(target) == entry
    context.stop.set()
    await server
