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
        return str(pynvml.nvmlDeviceGetName(_gpu()))
    except pynvml.NVMLError as error:
        return f"unknown GPU ({error})"


def memory_bytes(pid: int, device: Device) -> int:
    """Memory that a process and its descendants hold on the device; 0 when it is gone."""
    return _gpu_bytes() if device == "gpu" else _resident_bytes(pid)


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


def _gpu() -> object:
    """The first device that CUDA would see."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return pynvml.nvmlDeviceGetHandleByUUID(first)


def _gpu_bytes() -> int:
    """Used memory of the device, which one worker has to itself."""
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(_gpu()).used)
    return 0
