"""Decoding ahead of the encoder: batches of views in their order, made by threads or by processes of their own.

Each of `workers` threads decodes by itself, or drives one process and waits for it. Processes are started by
command line and not by `multiprocessing`, which would run the caller's script again in each of them (a plain
script without `if __name__ == "__main__"` would start itself without end) and leave them behind when the parent
is killed.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np

from seit.images import Bad, Facts, Image, Preparation, prepare
from seit.tokenizing.decode_worker import shared

WORTH_PROCESSES = 10_000
"""Images from which on processes pay: below, threads are done before a process has started."""
_SMALLEST_CHUNK = 8


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(images: int) -> int:
    """Returns how many decode processes a job of so many images gets: one a core, or 0 for threads."""
    return cores() if images >= WORTH_PROCESSES else 0


class Decoders:
    """Makes batches of views ahead of who asks for them.

    Args:
        how: what a view is.
        batch: images of a batch.
        processes: how many; 0 decodes in this process, in a thread a core.

    Use as a context manager: leaving it ends the workers.
    """

    def __init__(self, how: Preparation, batch: int, processes: int) -> None:
        self.how, self.batch, self.processes = how, batch, processes
        workers = processes or cores()
        self.chunk = min(batch, max(_SMALLEST_CHUNK, -(-batch // workers)))
        # Enough batches that every worker has a chunk in hand and one waiting while the encoder holds one more.
        self.slots = 2 + -(-2 * workers // -(-batch // self.chunk))
        shape = (self.slots, batch * how.views.count, *how.shape)
        self._memory = _memory(int(np.prod(shape))) if processes else -1
        self._views = shared(self._memory, *shape[:2], how) if processes else np.zeros(shape, np.uint8)
        self._pool = ThreadPoolExecutor(workers)
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._started: list[_Process] = []
        self._leaving = False
        for _ in range(processes):
            self._idle.put(self._new_process())

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *error: object) -> None:
        self._leaving = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._started):
            process.end()
        self._pool.shutdown()
        if self._memory >= 0:
            os.close(self._memory)

    def batches(self, work: Iterable[Sequence[Image]]) -> Iterator[tuple[np.ndarray, list[Facts | Bad]]]:
        """Yields each batch's views, uint8 [batch * v, H, W, 3], and what is known of its images.

        Rows of images that are bad, and those behind the last image, are zero. The array is written anew once the
        next batch is asked for.
        """
        work, waiting, free = iter(work), deque[tuple[int, list[Future]]](), list(range(self.slots))
        while True:
            while free and (images := next(work, None)) is not None:
                slot = free.pop()
                waiting.append((slot, self._submit(slot, images)))
            if not waiting:
                return
            slot, futures = waiting.popleft()
            yield self._views[slot], [one for future in futures for one in future.result()]
            free.append(slot)

    def _submit(self, slot: int, images: Sequence[Image]) -> list[Future]:
        count = self.how.views.count
        self._views[slot, len(images) * count :] = 0
        return [
            self._pool.submit(self._decode, slot, first * count, images[first : first + self.chunk])
            for first in range(0, len(images), self.chunk)
        ]

    def _decode(self, slot: int, first: int, images: Sequence[Image]) -> list[Facts | Bad]:
        if not self.processes:
            rows = len(images) * self.how.views.count
            return prepare(images, self.how, self._views[slot, first : first + rows])
        found = self._ask(slot, first, images)
        if found is not None:
            return found
        # A process died over them: one by one, so that only the image that kills a second process is bad.
        found = []
        for number, image in enumerate(images):
            row = first + number * self.how.views.count
            one = self._ask(slot, row, [image])
            if one is None:
                self._views[slot, row : row + self.how.views.count] = 0
                what = "ends the process that decodes it (out of memory?)"
                one = [Bad(image.name, what, 0, 0, "replace or remove it")]
            found += one
        return found

    def _ask(self, slot: int, first: int, images: Sequence[Image]) -> list[Facts | Bad] | None:
        """Lets an idle process decode a chunk; returns None, and starts another, if it dies."""
        process = self._idle.get()
        try:
            process.connection.send((slot, first, list(images)))
            return process.connection.recv()
        except (EOFError, OSError):
            process.end()
            if self._leaving:
                raise
            process = self._new_process()
            return None
        finally:
            self._idle.put(process)

    def _new_process(self) -> _Process:
        process = _Process(self._memory, self.slots, self._views.shape[1], self.how)
        self._started.append(process)
        return process


def _memory(size: int) -> int:
    """Returns a descriptor of memory that processes can share and that goes with the last of them."""
    if hasattr(os, "memfd_create"):  # not /dev/shm, which containers make 64 MB small
        memory = os.memfd_create("seit-views")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.truncate(memory, size)
    return memory


class _Process:
    """One decode process, and the socket to it."""

    def __init__(self, memory: int, slots: int, rows: int, how: Preparation) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            numbers = f"{theirs.fileno()}, {memory}, {slots}, {rows}"
            program = f"import sys; sys.path[:] = {sys.path!r}\n"
            program += f"from seit.tokenizing.decode_worker import main; main({numbers})"
            self.process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), memory)
            )
            self.connection = Connection(os.dup(ours.fileno()))
        self.connection.send(how)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
