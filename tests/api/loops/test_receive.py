from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.loops.context import Context
from api.loops.ingest import Ingester
from api.loops.receive import Receiver
from api.loops.runner import keep_going
from api.loops.serve import StoreServer
from api.store import repository
from api.store.local import LocalStore
from espo_contracts.events import Checkpoint, FileEntry
from espo_contracts.wire import STORE_PLACE, UPLOADS_KEY, Upload, upload_field
from espo_transfer import FolderSource, connect, entry_of, fetch, serve
from tests.api.loops.actors import HandWorker, checkpoints_of, dispatched, eventually, job_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import STARTED


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


def serving(context: Context, field: str, folder: Path) -> asyncio.Task[None]:
    """A worker's side that sends the folder's files until the test's end."""

    def run() -> None:
        source = FolderSource({entry_of(path).sha256: path for path in folder.iterdir()})
        with connect(context.settings.redis_url) as client:
            serve(client, field, source, context.stop.thread)

    return asyncio.create_task(asyncio.to_thread(run))


@pytest.mark.usefixtures("receiving")
async def test_a_checkpoint_travels_into_the_store_and_becomes_visible(
    context: Context, worker: HandWorker, folder: Path
) -> None:
    files = files_of(folder)
    sending = serving(context, await offer(context, worker, files), folder)
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
    sending = [serving(context, field, folder) for field in fields]
    receiver = Receiver(context)
    await asyncio.gather(receiver.step(), receiver.step())
    assert [(await answer(context, field)).state for field in fields] == ["stored", "stored"]
    assert files_of(context.settings.home / "tmp") == []
    context.stop.set()
    await asyncio.gather(*sending)


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
    sending = serving(context, field, folder)
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
