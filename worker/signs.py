"""Signs of life, each set by a thread of its own: that a worker listens, that an attempt is alive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from espo_contracts.events import Record
from espo_contracts.wire import NUDGE_CHANNEL

log = logging.getLogger(__name__)


class Sign:
    """A document under a key that expires, set again every few seconds and at once when told to."""

    def __init__(
        self, client: Redis, key: str, document: Callable[[], Record], *, every: float, expires: int
    ) -> None:
        self._client = client
        self._key = key
        self._document = document
        self._every_seconds = every
        self._expires_seconds = expires
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=key, daemon=True)

    def start(self) -> None:
        """Begin to give signs."""
        self._thread.start()

    def renew(self) -> None:
        """Give the next sign now: what it says has changed."""
        self._wake.set()

    def close(self) -> None:
        """Stop; the last sign stays until it expires."""
        self._closing.set()
        self._wake.set()
        if self._thread.ident is not None:  # it may be told to stop before it has begun
            self._thread.join()

    def remove(self) -> None:
        """Stop, and take the last sign away."""
        self.close()
        try:
            self._client.delete(self._key)
        except RedisError:
            log.info("%s expires by itself", self._key)

    def _work(self) -> None:
        is_news = True
        while not self._closing.is_set():
            try:
                self._give(is_news=is_news)
            except RedisError as error:
                log.warning("%s: cannot give a sign of life (%s)", self._key, error)
            except Exception:
                # Whatever it is, the next signs must come: without them a healthy run would be given up.
                log.exception("%s: cannot give a sign of life", self._key)
            is_news = self._wake.wait(self._every_seconds)
            self._wake.clear()

    def _give(self, *, is_news: bool) -> None:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._key, self._document().model_dump_json(), ex=self._expires_seconds)
        if is_news:
            # Wakes the dispatcher, which would see a worker that is free again only at its next look.
            pipeline.publish(NUDGE_CHANNEL, self._key)
        pipeline.execute()
