"""Which device to work on."""

from __future__ import annotations

from seit.errors import SeitError


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
