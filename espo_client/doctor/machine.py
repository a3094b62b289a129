"""This machine: Python, packages, the trainer's library, the data folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from espo_client.home import has_application
from espo_contracts.finding import Finding, fail, ok, warn

OLDEST_PYTHON = (3, 11)
TORCH_SECONDS = 120.0
LITTLE_BYTES, TOO_LITTLE_BYTES = 5_000_000_000, 500_000_000
# In a process of its own: this one never imports it, and a broken one must not take the doctor down.
TORCH = """
import json, torch
name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
print(json.dumps([torch.__version__, name, torch.cuda.device_count()]))
"""


def examine_python() -> Finding:
    """Whether this interpreter is new enough."""
    told = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        return ok("python", told)
    return fail("python", f"{told} is too old", "Install Python 3.11 or newer and make the environment anew.")


def examine_packages() -> Finding:
    """Whether everything that this installation needs is there in a version that it may have."""
    wanted = [Requirement(line) for line in requires("espo") or []]
    extras = {"extra": "service" if has_application() else ""}
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate(extras)]
    wrong = [problem for one in needed if (problem := _problem(one))]
    if not wrong:
        return ok("packages", f"espo {version('espo')}, {len(needed)} packages that it needs")
    hint = "`make run` installs what the lock files name; else pip install --upgrade espo."
    return fail("packages", "; ".join(wrong), hint)


def _problem(wanted: Requirement) -> str:
    if wanted.name == "espo":
        return ""
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is missing"
    is_good = wanted.specifier.contains(installed, prereleases=True)
    return "" if is_good else f"{wanted.name} is {installed}, wanted {wanted.specifier}"


def examine_torch() -> Finding:
    """Whether the trainer's library can be imported, and on what it would train."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TORCH], capture_output=True, text=True, check=False, timeout=TORCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        return fail("torch", f"its import takes longer than {TORCH_SECONDS:g} s", "Is the disk that slow?")
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"it died with status {done.returncode}"]
        hint = "`make run` installs it. A client without a worker of its own does without."
        level = fail if has_application() else warn
        return level("torch", f"cannot be imported: {reason[0]}", hint)
    told, device, count = json.loads(done.stdout.splitlines()[-1])
    return _device(told, device, count)


def _device(told: str, device: str, count: int) -> Finding:
    if device:
        return ok("torch", f"{told}, {count} x {device}")
    if os.environ.get("ESPO_WORKER_DEVICE") == "gpu":
        hint = "Install torch for this driver (nvidia-smi names it), or set ESPO_WORKER_DEVICE=cpu."
        return fail("torch", f"{told} sees no GPU, and ESPO_WORKER_DEVICE is gpu", hint)
    return ok("torch", f"{told} on the CPU")


def examine_folder(home: Path) -> list[Finding]:
    """Whether the data folder can be written to, and what space is left there."""
    # What is not there yet is made in the nearest folder that is.
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    probe = place / f".doctor-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(bytes(4096))
    except OSError as error:
        hint = "Give this user the right to write there, free some space, or set ESPO_HOME to another folder."
        return [fail("data folder", f"{place} cannot be written to: {error.strerror}", hint)]
    finally:
        _remove(probe)
    told = f"{home} can be written to" if place == home else f"{home} is not there yet; `espo up` makes it"
    return [ok("data folder", told), _space(place)]


def _remove(probe: Path) -> None:
    try:
        probe.unlink(missing_ok=True)
    except OSError:
        return  # where it cannot even be looked for, there is none


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    told = f"{free / 1e9:.1f} GB are free"
    hint = "Free some: a full disk stops checkpoints, uploads and, with SQLite, every write."
    if free < TOO_LITTLE_BYTES:
        return fail("disk space", told, hint)
    return warn("disk space", told, hint) if free < LITTLE_BYTES else ok("disk space", told)


def examine_hub() -> Finding:
    """Whether the hub's switches agree with each other."""
    is_offline = any(
        os.environ.get(name) in {"1", "true", "ON"} for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    is_allowed = os.environ.get("ESPO_ALLOW_HUB", "").lower() in {"1", "true", "yes", "on"}
    if is_allowed and is_offline:
        hint = "Unset HF_HUB_OFFLINE for the workers, or set ESPO_ALLOW_HUB=false."
        return warn("hub", "jobs may name its models, but HF_HUB_OFFLINE keeps everybody from it", hint)
    return ok("hub", "allowed" if is_allowed else "not used: models come from the model folders")
