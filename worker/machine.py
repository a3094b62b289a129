"""What this machine has and a run uses: device name, memory."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from pathlib import Path
from typing import Literal

import psutil
import pynvml

Device = Literal["cpu", "gpu"]
_VMSTAT = Path("/proc/vmstat")


@functools.cache
def device_name(device: Device) -> str:
    """Name of the device that runs will use, for people."""
    if device == "cpu":
        return f"{_processor()} ({os.cpu_count()} threads)"
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetName(_gpu(0)))
    except pynvml.NVMLError as error:
        return f"unknown GPU ({error})"


def memory_bytes(pid: int, device: Device, devices: int) -> int:
    """Memory that a process and its descendants hold on their devices; 0 when it is gone."""
    return _gpu_bytes(devices) if device == "gpu" else _resident_bytes(pid)


def kernel_kills() -> int:
    """How many processes of this machine the kernel has killed for memory since it started."""
    with contextlib.suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _resident_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += child.memory_info().rss
    return total


def _gpu(place: int) -> object:
    """The device that CUDA would see at a place."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    name = str(place) if visible is None else visible.split(",")[place].strip()
    if name.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def _gpu_bytes(devices: int) -> int:
    """Used memory of the first devices, which one worker has to itself."""
    with contextlib.suppress(pynvml.NVMLError, IndexError):
        pynvml.nvmlInit()
        return sum(int(pynvml.nvmlDeviceGetMemoryInfo(_gpu(place)).used) for place in range(devices))
    return 0
