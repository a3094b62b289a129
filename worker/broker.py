"""Kombu's connection to Redis, but soon back after an outage; and its transport, but for hints only.

Whatever else lies in a queue is thrown away. Without that one message that is no JSON ends the worker, and
with it the run that it has ("Unrecoverable error", kombu 5.7); one without a delivery tag as well.
"""

from __future__ import annotations

import base64
import json
import logging
from queue import Empty
from typing import Any

import kombu
import kombu.transport
from celery import Celery
from kombu.transport import redis

from espo_contracts.wire import TASK_NAME, Hint, queue_name

QUEUES = queue_name("")
_RETRIES = {"interval_start": 1, "interval_step": 0, "interval_max": 1}

log = logging.getLogger(__name__)


class Connection(kombu.Connection):
    """Tries again every second. Kombu waits two seconds longer each time, up to half a minute, while our sign
    of presence is back and hints are sent to us."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{**_RETRIES, **kwargs})


class Channel(redis.Channel):
    """Takes a message that cannot be parsed for none."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except ValueError as error:
            log.warning("a message that is no JSON is thrown away: %s", error)
            raise Empty from None


class Transport(redis.Transport):
    """Delivers hints."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        try:
            if queue and queue.startswith(QUEUES):  # the others are Celery's own
                _check(message)
        except (ValueError, TypeError, LookupError) as error:
            log.warning("a message that is no hint is thrown away: %s", type(error).__name__)
        else:
            super()._deliver(message, queue)


def install(app: Celery) -> None:
    """Makes the app use both; of transports kombu knows no other way to choose one for a URL."""
    app.amqp.Connection = Connection
    for scheme in ("redis", "rediss"):
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"


def _check(message: Any) -> None:
    """Raises what shows that the message is no hint as `api/loops/hints.py` sends them."""
    if message["headers"]["task"] != TASK_NAME or message["content-type"] != "application/json":
        raise ValueError("it names another task")
    if not message["properties"]["delivery_tag"] or "delivery_info" not in message["properties"]:
        raise KeyError("delivery_tag")
    _, keywords, _ = json.loads(base64.b64decode(message["body"], validate=True))
    Hint.model_validate(keywords)
