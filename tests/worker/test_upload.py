"""A checkpoint's way to the store, whatever others write beside it."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from espo_contracts.events import Checkpoint
from espo_contracts.wire import UPLOADS_KEY, upload_field
from espo_transfer import entry_of
from tests.worker.api_side import ApiSide, wait_for
from tests.worker.conftest import spec_of
from worker.upload import Freight, Uploads


def test_an_offer_that_somebody_wrote_over_is_made_anew(api: ApiSide, client: Redis, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    checkpoint = Checkpoint(step=5, files=[entry_of(folder / "model.bin")])
    api.start_attempt(spec_of("none"))
    told: list[object] = []
    uploads = Uploads(client, api.job, 1, keep=3, report=lambda event: told.append(event) or len(told))
    uploads.start()
    field = upload_field(api.job, 1, 5)
    uploads.add(Freight(checkpoint=checkpoint, folder=folder))
    wait_for(lambda: client.hexists(UPLOADS_KEY, field))
    client.hset(UPLOADS_KEY, field, b"\xff nonsense")
    wait_for(lambda: (client.hget(UPLOADS_KEY, field) or b"").startswith(b"{"))
    with api.running():
        assert uploads.finish(20)
    uploads.close()
    assert told == [checkpoint]
    assert client.hgetall(UPLOADS_KEY) == {}
