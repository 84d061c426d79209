"""The local engine: this process encodes on one device, decode workers feed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from seit.images import Bad, Facts
from seit.tokenizing.decoders import Decoders
from seit.tokenizing.encoding import Encoder
from seit.tokenizing.plan import Plan, Shard, Staged


def run(
    plan: Plan,
    waiting: list[Shard],
    encoder: Encoder,
    decoders: Decoders,
    seen: Callable[[Sequence[Facts | Bad]], None],
) -> Iterator[tuple[Shard, Staged]]:
    """Encodes shards one after another, yielding each when it is finished.

    The next batch is sent to the device before the ids of the last are fetched, across the borders of shards, so
    that neither the device nor the decoders wait for the other.

    Args:
        plan: the whole plan.
        waiting: the shards to do.
        encoder: the tokenizer on its device.
        decoders: what makes its views.
        seen: told what is known of the images of each encoded batch; may raise.
    """
    work = [(shard, last) for shard in waiting for last in _lasts(plan, shard)]
    images = (batch for shard in waiting for batch in plan.batches(shard))
    ids: list[np.ndarray] = []
    found: list[Facts | Bad] = []
    pending: tuple[torch.Tensor, list[Facts | Bad], Shard, bool] | None = None
    for (shard, last), (views, facts) in zip(work, decoders.batches(images), strict=True):
        started = encoder.start(views)
        if pending is not None:
            yield from _finish(plan, pending, ids, found, seen)
        pending = (started, facts, shard, last)
    if pending is not None:
        yield from _finish(plan, pending, ids, found, seen)


def _lasts(plan: Plan, shard: Shard) -> Iterator[bool]:
    """Yields for each batch of a shard whether it is its last."""
    count = -(-len(shard.images) // plan.batch)
    return (number == count - 1 for number in range(count))


def _finish(
    plan: Plan,
    pending: tuple[torch.Tensor, list[Facts | Bad], Shard, bool],
    ids: list[np.ndarray],
    found: list[Facts | Bad],
    seen: Callable[[Sequence[Facts | Bad]], None],
) -> Iterator[tuple[Shard, Staged]]:
    """Fetches a batch's ids; at the end of a shard yields it, and empties the lists."""
    started, facts, shard, last = pending
    ids.append(_small(started.cpu().numpy()))
    found.extend(facts)
    seen(facts)
    if last:
        yield shard, plan.staged(shard, ids, found)
        ids.clear()
        found.clear()


def _small(ids: np.ndarray) -> np.ndarray:
    """Returns ids in 32 bits, a quarter of what waits for the end of a shard."""
    return ids.astype(np.int32)
