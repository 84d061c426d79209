"""The processes of one run: `torchrun` starts them, one a GPU, and tells each its rank.

Without `torchrun` there is one process of rank 0 and every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from seit.progress import quiet

if TYPE_CHECKING:
    from torch import Tensor

Answer = TypeVar("Answer")


def join(device: str) -> None:
    """Makes this process one of those that `torchrun` started (NCCL on CUDA, gloo elsewhere); at most once.

    Only rank 0 shows progress.

    Args:
        device: cpu, cuda or mps.
    """
    import torch
    from torch import distributed

    if distributed.is_initialized() or "LOCAL_RANK" not in os.environ:
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    if rank():
        quiet()


def rank() -> int:
    """Returns this process's number, 0..count()-1."""
    return int(os.environ["RANK"]) if _many() else 0


def count() -> int:
    """Returns how many processes share the run."""
    return int(os.environ["WORLD_SIZE"]) if _many() else 1


def summed(values: np.ndarray) -> np.ndarray:
    """Returns the sum over all processes of an array of numbers, the same on each."""
    if count() == 1:
        return values
    import torch
    from torch import distributed

    total = torch.from_numpy(np.array(values))
    if distributed.get_backend() == "nccl":
        total = total.cuda()
    distributed.all_reduce(total)
    return total.cpu().numpy()


def add_up(tensor: Tensor) -> None:
    """Replaces a tensor, in place, by its sum over all processes; a GPU does so without making its process wait."""
    if count() > 1:
        from torch import distributed

        distributed.all_reduce(tensor)


def spread(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors, in place, by those of rank 0."""
    if count() > 1:
        from torch import distributed

        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def first(ask: Callable[[], Answer]) -> Answer:
    """Returns on every rank what `ask` returns on rank 0, the only one that calls it; its error is raised on all.

    So that all agree on what lies on a disk which one of them writes.
    """
    if count() == 1:
        return ask()
    from torch import distributed

    answer: list[object] = [None, None]
    if rank() == 0:
        try:
            answer[0] = ask()
        except Exception as error:  # the others wait for an answer, whatever went wrong
            answer[1] = error
    distributed.broadcast_object_list(answer, src=0)
    if isinstance(answer[1], Exception):
        raise answer[1]
    return answer[0]  # type: ignore[return-value]


def _many() -> bool:
    """Whether `join` made this process one of several, without loading torch to find out."""
    import sys

    loaded = sys.modules.get("torch")
    return loaded is not None and loaded.distributed.is_available() and loaded.distributed.is_initialized()
