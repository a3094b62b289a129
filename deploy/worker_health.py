"""`python -m deploy.worker_health`: status 0 while a worker of this container signs in at Redis."""

from __future__ import annotations

import os
import socket
import sys

import redis

from espo_contracts.wire import worker_key


def is_present() -> bool:
    """Whether Redis knows a living worker of this machine's name; they are called <name>-1, <name>-2, ..."""
    name = os.environ.get("ESPO_WORKER_NAME") or socket.gethostname()
    with redis.Redis.from_url(os.environ["ESPO_REDIS_URL"], socket_timeout=5) as client:
        return any(True for _ in client.scan_iter(match=worker_key(f"{name}-*")))


if __name__ == "__main__":
    sys.exit(0 if is_present() else 1)
