"""Hardware of a training, and an estimate of the energy that it took."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

# Assumed draw at full load, without memory, cooling and idle parts of the machine: the order of magnitude of the
# thermal design power of servers.
WATTS_OF_CORE = 10
WATTS_OF_GPU = 300
J_OF_WH = 3600


def describe_hardware(uses_gpu: bool) -> dict[str, Any]:
    """Processor, cores, memory and GPUs of this machine, as plain values.

    Args:
        uses_gpu: Whether the training runs on a GPU; otherwise the list of GPUs is empty.

    Returns:
        `cpu` (name), `cores`, `memory_gb` (None where the system does not tell) and `gpus` (names with memory).
    """
    memory = None
    with suppress(ValueError, OSError, AttributeError):  # not on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if uses_gpu else []
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": memory,
        "gpus": [f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB" for gpu in gpus],
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def estimate_energy(seconds: float, hardware: dict[str, Any], devices: int) -> tuple[float, str]:
    """Estimate the energy of a training from its duration.

    Args:
        seconds: Duration.
        hardware: Mapping of `describe_hardware`.
        devices: Number of GPUs that were used, if there are any.

    Returns:
        Watt-hours, and the assumption in words. On a GPU one core feeds each device; on a CPU all cores count.
    """
    gpus = min(devices, len(hardware["gpus"]))
    cores = gpus or hardware["cores"]
    watts = cores * WATTS_OF_CORE + gpus * WATTS_OF_GPU
    parts = [f"{WATTS_OF_CORE} W for each of {cores} cores"]
    if gpus:
        parts.append(f"{WATTS_OF_GPU} W for each of {gpus} GPUs")
    return seconds * watts / J_OF_WH, f"assumes {' and '.join(parts)}, for the time of training alone; not measured"
