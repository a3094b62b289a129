from __future__ import annotations

import csv
import io
import math
from typing import Any

import httpx
import pytest
from pyarrow import parquet

from tests.api.conftest import Service
from tests.api.marks import on_sqlite
from tests.api.rows import add_events, metrics, submit


@pytest.fixture
async def job_id(client: httpx.AsyncClient, service: Service) -> str:
    """A job whose second step was done twice, and whose third was not finite."""
    made = await submit(client)
    rows = [
        metrics(1, reward__mean=0.25, policy__loss=1.0),
        metrics(2, reward__mean=9.0) | {"is_superseded": True},
        metrics(2, reward__mean=0.5, policy__loss=0.5),
        metrics(2, held_out__greedy=0.75),
        metrics(3, {"policy/loss": "inf"}, reward__mean=1.0, policy__loss=None),
    ]
    await add_events(service.resources.context.database, made, rows)
    return made


async def read(client: httpx.AsyncClient, job_id: str, **params: Any) -> Any:
    response = await client.get(f"/v1/jobs/{job_id}/metrics", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def test_curves(client: httpx.AsyncClient, job_id: str) -> None:
    page = await read(client, job_id)
    assert page["last_step"] == 3
    assert page["series"] == {
        "held_out/greedy": {"steps": [2], "values": [0.75], "non_finite": {}},
        "policy/loss": {"steps": [1, 2, 3], "values": [1.0, 0.5, None], "non_finite": {"3": "inf"}},
        "reward/mean": {"steps": [1, 2, 3], "values": [0.25, 0.5, 1.0], "non_finite": {}},
    }


async def test_a_poll_reads_only_what_is_new(
    client: httpx.AsyncClient, service: Service, job_id: str
) -> None:
    assert set((await read(client, job_id, names="reward/mean"))["series"]) == {"reward/mean"}
    both = await read(client, job_id, names="reward/mean,no/such")
    assert set(both["series"]) == {"reward/mean"}
    page = await read(client, job_id, since_step=2, names=["reward/mean", "no/such"])
    assert page["series"] == {"reward/mean": {"steps": [3], "values": [1.0], "non_finite": {}}}
    empty = await read(client, job_id, since_step=3)
    assert (empty["series"], empty["last_step"]) == ({}, 3)
    await add_events(service.resources.context.database, job_id, [metrics(4, reward__mean=0.0)])
    assert (await read(client, job_id, since_step=3))["series"]["reward/mean"]["steps"] == [4]


async def test_nothing_new_is_not_sent(client: httpx.AsyncClient, service: Service, job_id: str) -> None:
    path = f"/v1/jobs/{job_id}/metrics"
    etag = (await client.get(path)).headers["etag"]
    again = await client.get(path, headers={"if-none-match": f'"x", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    await add_events(service.resources.context.database, job_id, [metrics(4, reward__mean=0.0)])
    assert (await client.get(path, headers={"if-none-match": etag})).status_code == 200


async def test_many_points_are_thinned(client: httpx.AsyncClient, service: Service) -> None:
    job_id = await submit(client)
    rows = [metrics(step, reward__mean=math.sin(step)) for step in range(2500)]
    await add_events(service.resources.context.database, job_id, rows)
    assert len((await read(client, job_id))["series"]["reward/mean"]["steps"]) == 1000
    steps = (await read(client, job_id, max_points=10))["series"]["reward/mean"]["steps"]
    assert (len(steps), steps[-1]) == (10, 2499)
    assert steps[0] < 256  # in the first range
    few = (await read(client, job_id, max_points=3))["series"]["reward/mean"]["steps"]
    assert (len(few), few[-1]) == (2, 2499)


async def test_csv(client: httpx.AsyncClient, job_id: str) -> None:
    response = await client.get(f"/v1/jobs/{job_id}/metrics", params={"format": "csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert f"{job_id}-metrics.csv" in response.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert [row["policy/loss"] for row in rows] == ["1.0", "0.5", "inf"]
    assert [row["held_out/greedy"] for row in rows] == ["", "0.75", ""]


async def test_parquet(client: httpx.AsyncClient, job_id: str) -> None:
    response = await client.get(f"/v1/jobs/{job_id}/metrics", params={"format": "parquet", "since_step": 1})
    table = parquet.read_table(io.BytesIO(response.content)).to_pydict()
    assert table["step"] == [2, 3]
    assert table["policy/loss"] == [0.5, math.inf]
    assert table["held_out/greedy"] == [0.75, None]


@on_sqlite
@pytest.mark.parametrize(
    "query",
    ["max_points=2", "since_step=-2", "format=xml", "format=csv&max_points=10", "since_step=99999999999"],
)
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, job_id: str, query: str) -> None:
    response = await client.get(f"/v1/jobs/{job_id}/metrics?{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
