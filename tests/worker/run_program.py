"""A run process for fault tests: speaks the protocol of worker/child.py and does what the job's name says.

Started as `python run_program.py <fd>`; the job's name is a list of deeds such as `metrics:3 exit:7`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Program:
    """One order and its deeds; each public method is a deed."""

    def __init__(self, order: dict[str, Any], descriptor: int) -> None:
        self._work_dir = Path(order["work_dir"])
        self._lines = os.fdopen(descriptor, "w", buffering=1)
        resumed = int(Path(order["resume"], "step.txt").read_text()) if order["resume"] else None
        started = {"total_steps": 10, "resumed_from": resumed, "device": "cpu"}
        self._tell(type="started", parameters=1, trainable_parameters=1, **started)

    def do(self, deed: str) -> None:
        """What `<name>:<argument>` says."""
        name, _, argument = deed.partition(":")
        act: Callable[[str], None] = getattr(self, name)
        act(argument)

    def _tell(self, **event: Any) -> None:
        self._lines.write(json.dumps(event) + "\n")

    def metrics(self, last_step: str) -> None:
        for step in range(1, int(last_step) + 1):
            self._tell(type="metrics", step=step, values={"reward/mean": step / 7})

    def slow_metrics(self, last_step: str) -> None:
        for step in range(1, int(last_step) + 1):
            self._tell(type="metrics", step=step, values={"reward/mean": step / 7})
            time.sleep(0.01)

    def checkpoint(self, step: str) -> None:
        folder = self._work_dir / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(hashlib.shake_128(step.encode()).digest(1_500_000))
        (folder / "step.txt").write_text(step)
        files = [_entry(path) for path in sorted(folder.iterdir())]
        self._tell(type="checkpoint", step=int(step), files=files)

    def finish(self, step: str) -> None:
        self._tell(type="finished", step=int(step))

    def until_told(self, _: str) -> None:
        while not (self._work_dir / "stop").exists():
            time.sleep(0.005)

    def hand_back(self, step: str) -> None:
        self._tell(type="finished", outcome="handed_back", step=int(step))

    def fail(self, _: str) -> None:
        self._tell(type="failed", code="diverged", message="the loss is not finite", hint="Lower it.")
        sys.exit(1)

    def bound_by(self, cgroup: str) -> None:
        Path(cgroup).write_text(str(os.getpid()))

    def fill_memory(self, megabytes: str) -> None:
        held = bytearray(int(megabytes) << 20)
        for place in range(0, len(held), 4096):
            held[place] = 1

    def abort(self, words: str) -> None:
        print(words.replace("~", " "), file=sys.stderr, flush=True)
        os.abort()

    def exit(self, status: str) -> None:
        sys.exit(int(status))

    def signal(self, number: str) -> None:
        os.kill(os.getpid(), int(number))

    def hang(self, _: str) -> None:
        time.sleep(600)

    def ignore_term(self, _: str) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def print(self, count: str) -> None:
        for number in range(int(count)):
            print(f"line {number}", file=sys.stderr if number % 2 else sys.stdout, flush=True)

    def flood(self, count: str) -> None:
        sys.stdout.write("x" * int(count))
        sys.stdout.flush()

    def rubbish(self, _: str) -> None:
        self._lines.write('{"type": "nonsense"}\n')

    def cut(self, _: str) -> None:
        self._lines.write('{"type": "metr')
        self._lines.flush()
        os._exit(3)

    def grandchild(self, seconds: str) -> None:
        subprocess.Popen(["sleep", seconds])

    def pid(self, _: str) -> None:
        print(os.getpid(), file=(self._work_dir / "pid").open("w"))


def _entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"name": path.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def main() -> None:
    order = json.loads(sys.stdin.readline())
    program = Program(order, int(sys.argv[1]))
    for deed in order["spec"]["name"].split():
        program.do(deed)


if __name__ == "__main__":
    main()
