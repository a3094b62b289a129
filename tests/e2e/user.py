"""Somebody who looks at a job ten times a second, and notes what they should not have seen."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx

from espo_client.client import EspoClient


class Onlooker:
    """Looks by the SDK and by hand, in two threads, inside a `with` block."""

    def __init__(self, base_url: str, api_key: str, job: str) -> None:
        self._base_url, self._api_key, self._job = base_url, api_key, job
        self._stop = threading.Event()
        self.looks = 0
        self.away = 0
        """How often nobody answered by hand: the process is being restarted."""
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._watch, args=(look,)) for look in (self._sdk, self._raw)
        ]

    def __enter__(self) -> Onlooker:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - whatever it is, the user has seen it
            self.errors.append(f"{type(error).__name__}: {error}")

    def _sdk(self) -> None:
        with EspoClient(self._base_url, self._api_key) as client:
            while not self._stop.wait(0.1):
                client.get(self._job)
                client.metrics(self._job, names=["reward/mean"])
                client.checkpoints(self._job)
                self.looks += 1

    def _raw(self) -> None:
        headers = {"authorization": f"Bearer {self._api_key}"}
        with httpx.Client(base_url=self._base_url, headers=headers, timeout=30) as client:
            while not self._stop.wait(0.1):
                try:
                    self._judge(client.get(f"/v1/jobs/{self._job}"))
                except httpx.TransportError:
                    self.away += 1

    def _judge(self, response: httpx.Response) -> None:
        may_come_again = response.status_code == 503 and "retry-after" in response.headers
        if response.status_code != 200 and not may_come_again:
            self.errors.append(f"{response.status_code}: {response.text[:200]}")
