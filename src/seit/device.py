"""Which device to work on, and what it is told."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import TYPE_CHECKING

from seit.errors import SeitError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def resolve(device: str) -> str:
    """Turns auto|cpu|cuda|mps into a torch device name.

    Raises:
        SeitError: the device is unknown or absent on this machine.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name in ("cuda", "mps") if present[name]), "cpu")
    if device not in present:
        raise SeitError(f"{device!r} is not a device", "--device", "choose auto, cpu, cuda or mps")
    if not present[device]:
        raise SeitError(f"this machine has no {device} device", "--device", "choose auto or cpu")
    return device


def keep_memory() -> None:
    """Keeps freed memory in this process, where the C library is glibc.

    glibc returns large blocks to the system when they are freed, and has the same ones mapped and cleared again for
    the next batch: on a CPU up to a tenth of a training step's time, a fifth of ViT-VQGAN's, a quarter of what
    decoding photos takes. The process stays as large as its largest step, with up to a quarter more for what lies
    between the blocks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware (emulated, it is slower than float32)."""
    import torch

    if device == "cpu":
        return torch.cpu._is_avx512_bf16_supported()
    return device == "mps" or torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """Returns the autocast context of a recipe's precision: "float32", "bfloat16", "float16", or "auto"."""
    import torch

    kind = torch.device(device).type
    wanted = precision == "bfloat16" or (precision == "auto" and has_bfloat16(kind))
    if precision == "float16":
        return torch.autocast(kind, torch.float16)
    return torch.autocast(kind, torch.bfloat16, enabled=wanted)


def machine(device: str) -> dict[str, str]:
    """Returns what a measured number depends on: processor, cores, device, system and versions."""
    import torch

    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # macOS and some ARM kernels have no such line
    named = torch.cuda.get_device_name() if device == "cuda" else device
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": f"{processor}, {cores} cores",
        "device": f"{named}, {'bfloat16' if has_bfloat16(device) else 'float32'}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "torch": torch.__version__,
    }
