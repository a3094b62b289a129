"""What Prometheus would make of a scrape."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, ...], float]


async def scrape(client: httpx.AsyncClient, **options: dict[str, str]) -> Samples:
    """Every sample by its name and the values of its labels, in the order of their names."""
    response = await client.get("/metrics", **options)
    assert response.status_code == 200, response.text
    return samples(response.text)


def samples(text: str) -> Samples:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
