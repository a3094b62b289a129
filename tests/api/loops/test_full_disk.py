"""SQLite's disk is full: events wait in Redis, and come in once, in order, when there is space."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from api.loops.context import Context
from api.loops.ingest import Ingester
from espo_contracts.events import Log
from tests.api.loops.actors import dispatched, events_of
from tests.api.loops.conftest import MakeJob
from tests.api.loops.samples import STARTED
from tests.api.marks import on_sqlite
from tests.small_disk import Disk


@pytest.fixture
def home(disk: Disk) -> Path:
    """The data folder, on a disk that can be filled."""
    return disk.folder


@on_sqlite
async def test_events_wait_for_space(context: Context, make_job: MakeJob, disk: Disk) -> None:
    worker = await dispatched(context, await make_job())
    ingester = Ingester(context)
    sent = [Log(message=f"{number} " * 5000) for number in range(20)]
    disk.fill()
    await worker.emit(STARTED, *sent)
    for _ in range(3):
        with pytest.raises(OperationalError, match="full"):
            await ingester.step()
    assert await events_of(context.database, worker.job_id, "log") == []
    disk.free()
    await ingester.step()
    rows = await events_of(context.database, worker.job_id, "log")
    assert [row.data["message"] for row in rows] == [event.message for event in sent]
    assert (await worker.assignment()).committed == 21
