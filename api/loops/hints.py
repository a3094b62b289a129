"""Celery messages that tell a worker that an attempt waits for it. A hint may be lost, late or doubled."""

from __future__ import annotations

import asyncio
from typing import Any

from celery import Celery
from redis.asyncio import Redis

from espo_contracts.wire import TASK_NAME, Hint, queue_name

SEND_SECONDS = 10.0


class Hints:
    """Sends hints by task name: this process knows nothing of the worker's code."""

    def __init__(self, broker_url: str) -> None:
        self._queues = Redis.from_url(broker_url)
        self._celery = Celery("espo-dispatch", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_ignore_result=True,  # the job's status is in the database
            task_publish_retry=False,  # the reconciler hints again; a retry here would only block the thread
            broker_connection_timeout=3,
            broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 3},
        )

    async def send(self, hint: Hint, resources: str) -> None:
        """Puts a hint into the queue of a resource class.

        Raises:
            kombu.exceptions.OperationalError, TimeoutError: the broker does not answer.
        """
        await asyncio.wait_for(asyncio.to_thread(self._send, hint, resources), SEND_SECONDS)

    async def waiting(self, resources: str) -> int:
        """Hints in the queue of a resource class that no worker has taken."""
        length: Any = await self._queues.llen(queue_name(resources))
        return int(length)

    def _send(self, hint: Hint, resources: str) -> None:
        message: dict[str, Any] = hint.model_dump()
        self._celery.send_task(TASK_NAME, kwargs=message, queue=queue_name(resources), ignore_result=True)

    async def close(self) -> None:
        await self._queues.aclose()
        self._celery.close()
