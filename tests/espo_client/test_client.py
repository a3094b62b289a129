"""The SDK against the real service, over good and bad connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from espo_client.client import EspoClient
from espo_client.errors import DownloadError, EspoApiError, EspoConnectionError
from espo_client.records import JobDetail
from espo_contracts.job import JobStatus
from tests.espo_client.conftest import Local
from tests.espo_client.cutting_proxy import cutting_proxy
from tests.espo_client.local_service import LONG_JOB, SHORT_JOB
from tests.servers import free_port

pytestmark = pytest.mark.slow


def test_a_job_can_be_read_in_every_way(local: Local, trained: JobDetail) -> None:
    with local.client() as client:
        assert trained.id in [job.id for job in client.jobs(tag="test", status="succeeded")]
        assert trained.spec == SHORT_JOB
        assert trained.resolved["optimiser"]["beta2"] == 0.95
        curves = client.metrics(trained.id, names=["reward/mean"])
        assert list(curves) == ["reward/mean"]
        assert curves["reward/mean"].steps == [1, 2, 3]
        assert {sample.step for sample in client.samples(trained.id)} == {1, 2, 3}
        assert {checkpoint.step for checkpoint in client.checkpoints(trained.id)} == {2, 3}
        assert client.checkpoint(trained.id).step == 3
        assert all(line.message for line in client.logs(trained.id))


def test_events_are_the_same_live_and_past_and_from_any_place(local: Local, trained: JobDetail) -> None:
    with local.client() as client:
        past = list(client.past_events(trained.id))
        assert [event.id for event in past] == list(range(1, trained.event_count + 1))
        assert list(client.events(trained.id)) == past
        assert list(client.events(trained.id, after=past[4].id)) == past[5:]
        assert {event.type for event in client.events(trained.id, types=["metrics"])} == {"metrics"}


def test_a_stream_that_breaks_goes_on_without_a_gap_or_a_double(local: Local, trained: JobDetail) -> None:
    with cutting_proxy(local.base_url, limit=3000, cuts=4) as proxy, local.client(proxy.base_url) as client:
        found = [event.id for event in client.events(trained.id)]
        assert proxy.cuts_left == 0
    assert found == list(range(1, trained.event_count + 1))


def test_a_cut_download_is_continued_and_verified(local: Local, trained: JobDetail, tmp_path: Path) -> None:
    target, counted = tmp_path / "model", []
    with (
        cutting_proxy(local.base_url, limit=300_000, cuts=5) as proxy,
        local.client(proxy.base_url) as client,
    ):
        found = client.download(trained.id, target, on_bytes=counted.append)
        assert proxy.cuts_left == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert {path.name: path.stat().st_size for path in target.iterdir()} == {
        entry.name: entry.size for entry in found.files
    }
    assert sum(counted) == found.bytes, "what was counted is what there is"


@pytest.mark.parametrize("damage", ["truncated", "wrong", "too long"])
def test_whatever_lies_there_becomes_the_promised_file(
    local: Local, trained: JobDetail, tmp_path: Path, damage: str
) -> None:
    with local.client() as client:
        client.download(trained.id, tmp_path / "good")
        good = (tmp_path / "good" / "model.safetensors").read_bytes()
        part = tmp_path / ".model.part" / ".model.safetensors.part"
        part.parent.mkdir()
        part.write_bytes({"truncated": good[:1000], "wrong": b"x" * 1000, "too long": good + b"x"}[damage])
        counted: list[int] = []
        found = client.download(trained.id, tmp_path / "model", on_bytes=counted.append)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == good
    assert sum(counted) == found.bytes


def test_a_second_download_only_looks(local: Local, trained: JobDetail, tmp_path: Path) -> None:
    with local.client() as client:
        client.download(trained.id, tmp_path / "model", step="best")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()}
        client.download(trained.id, tmp_path / "model", step="best")
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "model").iterdir()} == before
        (tmp_path / "file").touch()
        with pytest.raises(DownloadError, match="is a file"):
            client.download(trained.id, tmp_path / "file")


def test_a_submission_whose_answer_is_lost_makes_one_job(local: Local) -> None:
    name = "lost-answer"
    with cutting_proxy(local.base_url, limit=0, cuts=2) as proxy, local.client(proxy.base_url) as client:
        job = client.submit(LONG_JOB | {"name": name})
        assert proxy.cuts_left == 0
    with local.client() as client:
        assert [found.id for found in client.jobs(text=name)] == [job.id]
        client.cancel(job.id)


def test_cancelling_ends_a_job_and_may_be_repeated(local: Local) -> None:
    with local.client() as client:
        job = client.submit(LONG_JOB)
        for event in client.events(job.id):
            if event.type == "metrics":
                break
        for _ in range(2):
            client.cancel(job.id)
        assert [event.type for event in client.events(job.id)][-1] == "state"
        assert client.get(job.id).status == JobStatus.CANCELLED


def test_data_files_come_and_go(local: Local, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "1", "answer": "2"}\n' * 1000)
    counted: list[int] = []
    with local.client() as client:
        stored = client.upload(path, on_bytes=counted.append)
        assert (stored.rows, stored.bytes, sum(counted)) == (1000, path.stat().st_size, path.stat().st_size)
        assert stored.id in [file.id for file in client.files()]
        client.delete_file(stored.id)
        assert stored.id not in [file.id for file in client.files()]
        path.write_text('{"prompt": "1"}\n{"prompt": \n')
        with pytest.raises(EspoApiError, match="line 2"):
            client.upload(path)


def test_a_refusal_names_every_wrong_field_and_the_request(local: Local) -> None:
    with local.client() as client:
        with pytest.raises(EspoApiError) as caught:
            client.submit(SHORT_JOB | {"sede": 1, "rollout": {"group_size": 0}})
        assert caught.value.status == 422
        assert {"sede", "rollout.group_size"} <= {error.loc for error in caught.value.errors}
        assert caught.value.code == "invalid_spec"
        assert caught.value.request_id
        with pytest.raises(EspoApiError) as caught:
            client.get("job-" + "0" * 32)
        assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_nobody_there_and_a_wrong_key(local: Local) -> None:
    with EspoClient(local.base_url, "espo_wrong") as client, pytest.raises(EspoApiError) as refused:
        client.get("job-" + "0" * 32)
    assert refused.value.status == 401
    base_url = f"http://127.0.0.1:{free_port()}"
    with EspoClient(base_url, "espo_any") as client, pytest.raises(EspoConnectionError, match="espo up"):
        client.get("job-" + "0" * 32)
