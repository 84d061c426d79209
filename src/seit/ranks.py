"""The processes of one run: `torchrun` starts them, one a GPU, and tells each its rank.

Without `torchrun` there is one process of rank 0 and every function here does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from seit.errors import SeitError
from seit.progress import quiet

if TYPE_CHECKING:
    from torch import Tensor

Answer = TypeVar("Answer")
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def join(device: str) -> None:
    """Makes this process one of those that `torchrun` started (NCCL on CUDA, gloo elsewhere); at most once.

    A WORLD_SIZE above 1 says that there are several; without it other tools' variables mean nothing. Only rank 0
    shows progress.

    Args:
        device: cpu, cuda or mps.

    Raises:
        SeitError: some of torchrun's variables are missing, or are no numbers that fit each other.
    """
    import torch
    from torch import distributed

    if distributed.is_initialized() or os.environ.get("WORLD_SIZE", "1") in ("", "1"):
        return
    texts = {name: os.environ.get(name, "") for name in _VARIABLES}
    numbers = [int(texts[name]) if texts[name].isdigit() else -1 for name in _VARIABLES[:3]]
    if not (0 <= numbers[0] < numbers[1] and 0 <= numbers[2] < numbers[1] and all(texts.values())):
        what = "are " + ", ".join(repr(text) for text in texts.values())
        raise SeitError(what, ", ".join(_VARIABLES), "start with torchrun, or unset them")
    if device == "cuda":
        torch.cuda.set_device(numbers[2])
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    if rank():
        quiet()


def rank() -> int:
    """Returns this process's number, 0..count()-1."""
    return sys.modules["torch"].distributed.get_rank() if _many() else 0


def count() -> int:
    """Returns how many processes share the run."""
    return sys.modules["torch"].distributed.get_world_size() if _many() else 1


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
    loaded = sys.modules.get("torch")
    return loaded is not None and loaded.distributed.is_available() and loaded.distributed.is_initialized()
