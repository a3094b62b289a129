"""Where the API listens: loopback and port 8000, unless `ESPO_API_HOST` and `ESPO_API_PORT` say otherwise."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from espo_client.errors import ServiceError

DEFAULT_PORT = 8000
PORTS_TRIED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen; `note` tells the user why it is not the port that was expected."""

    host: str
    port: int
    note: str = ""

    @property
    def base_url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 (compared only)
        return f"http://{host}:{self.port}"


def choose(*, may_move: bool) -> Address:
    """A free address. `may_move`: take the next free port even when `ESPO_API_PORT` names a taken one.

    Raises:
        ServiceError: the wanted port is taken, or is no port.
    """
    host = os.environ.get("ESPO_API_HOST") or "127.0.0.1"
    given = os.environ.get("ESPO_API_PORT")
    wanted = _port(given) if given else DEFAULT_PORT
    if is_free(host, wanted):
        return Address(host=host, port=wanted)
    if given and not may_move:
        raise ServiceError(
            f"Port {wanted} on {host} (ESPO_API_PORT) is taken by another program. "
            "Stop that program, or set ESPO_API_PORT to another port."
        )
    last = min(wanted + PORTS_TRIED, 65_535)
    port = next((port for port in range(wanted + 1, last + 1) if is_free(host, port)), None)
    if port is None:
        raise ServiceError(f"No free port on {host} from {wanted} to {last}; set ESPO_API_PORT.")
    return Address(host=host, port=port, note=f"Port {wanted} is taken by another program: using {port}.")


def is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server will: connections that linger from an earlier run do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise ServiceError(f"ESPO_API_PORT={text} is no port: give a number from 1 to 65535.")
    return int(text)
