"""What a decode process runs: chunks of images come in by a socket, their views go into memory shared with the
parent.

No torch here, so that a worker starts in a fraction of a second and weighs 40 MB.
"""

from __future__ import annotations

import mmap
import signal
from multiprocessing.connection import Connection

import numpy as np

from seit.device import keep_memory
from seit.images import Preparation, prepare


def main(socket: int, memory: int, slots: int, rows: int) -> None:
    """Works until the parent closes its end, or dies.

    Args:
        socket: file descriptor; the first message is a `Preparation`, then come (slot, first row, images).
        memory: file descriptor of `slots` batches of `rows` views each.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    keep_memory()
    parent = Connection(socket)
    try:
        how: Preparation = parent.recv()
        views = shared(memory, slots, rows, how)
        while True:
            slot, first, images = parent.recv()
            out = views[slot, first : first + len(images) * how.views.count]
            parent.send(prepare(images, how, out))
    except (EOFError, OSError):
        return


def shared(memory: int, slots: int, rows: int, how: Preparation) -> np.ndarray:
    """Maps the shared memory: uint8 [slots, rows, H, W, 3]."""
    return np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(slots, rows, *how.shape)
