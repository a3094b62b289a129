"""One process of the local service: guarded, logged to a file, started again when it dies."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from espo_client.services.guarded import end_guarded, start_guarded

LONGEST_LOG_BYTES = 16 << 20
LONGEST_WAIT_SECONDS = 30.0
# After this long in good health a death counts as the first again.
HEALTHY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, and how long it may take to end when told to."""

    name: str
    arguments: list[str]
    environment: dict[str, str] = field(repr=False)
    grace_seconds: float


class Child:
    """A command that lives no longer than this process, however this process ends."""

    def __init__(self, command: Command, *, logs: Path, lock: int) -> None:
        """`lock`: descriptor that the guard keeps open until the command is gone."""
        self.command = command
        self.log = logs / f"{command.name}.log"
        self._lock = lock
        self._guard: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._started_at = 0.0
        self._start_again_at: float | None = None

    def start(self) -> None:
        _rotate(self.log)
        with self.log.open("ab") as log:
            self._guard = start_guarded(
                self.command.arguments,
                environment=self.command.environment,
                output=log,
                grace_seconds=self.command.grace_seconds,
                keep_open=(self._lock,),
            )
        self._started_at = time.monotonic()
        self._start_again_at = None

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._guard.poll() if self._guard else None

    def tend(self) -> str | None:
        """Starts a dead command again, later the more often it died; returns what happened, if anything."""
        now = time.monotonic()
        if self.exit_code is None:
            return None
        if self._start_again_at is None:
            self._deaths = 1 if now - self._started_at > HEALTHY_SECONDS else self._deaths + 1
            wait = min(2.0 ** (self._deaths - 1) * 0.5, LONGEST_WAIT_SECONDS)
            self._start_again_at = now + wait
            return f"{self.command.name} ended with code {self.exit_code}; again in {wait:g} s ({self.log})"
        if now >= self._start_again_at:
            self.start()
            return f"{self.command.name} started again"
        return None

    def stop(self) -> None:
        """Ends the command, killed if it does not end within its grace time."""
        if self._guard is not None:
            end_guarded(self._guard, grace_seconds=self.command.grace_seconds)

    def log_tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _rotate(log: Path) -> None:
    """Keeps a log and the one before it, each within a bound."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
