"""The Ray engine: the same plan on a cluster, one encoder an actor (a GPU each), decoding in CPU tasks.

The driver alone writes: a shard comes back whole and is staged once, so a worker that dies costs the shards that it
had in hand, which are encoded again, and nothing else. Images must lie where every node reaches them (a shared
folder, URLs, an object store); OUT lies with the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from seit.errors import SeitError
from seit.images import Bad, Facts, Image, Preparation, prepare
from seit.tokenizers import Tokenizer
from seit.tokenizing.encoding import Encoder, Kept
from seit.tokenizing.plan import Plan, Shard, Staged

_TRIES = 10  # of one shard; each costs a dead worker
_AHEAD = 2  # shards in hand for each encoder, so that none waits for a decoder
_log = logging.getLogger(__name__)


class _Worker:
    """An encoder on one node; Ray makes it an actor."""

    def __init__(
        self, tokenizer: Tokenizer, device: str, precision: str, compiled: bool, kept: Kept | None, threads: int
    ) -> None:
        torch.set_num_threads(threads)  # Ray sets one; ids can depend on it
        self.encoder = Encoder(tokenizer.to(device), precision, compiled, kept)

    def encode(self, decoded: tuple[np.ndarray, list[Facts | Bad]]) -> tuple[np.ndarray, list[Facts | Bad]]:
        """Returns the ids of a batch, int32, and what is known of its images."""
        views, found = decoded
        return self.encoder.ids(np.array(views)).astype(np.int32), found

    def provenance(self) -> dict[str, str]:
        """Returns what of this node can change an id."""
        return self.encoder.provenance()


def _decode(images: Sequence[Image], how: Preparation, batch: int) -> tuple[np.ndarray, list[Facts | Bad]]:
    """Returns a padded batch of views and what is known of its images."""
    views = np.zeros((batch * how.views.count, *how.shape), np.uint8)
    return views, prepare(images, how, views[: len(images) * how.views.count])


class _Cluster:
    """The encoders of a cluster, and shards in their hands.

    Args:
        plan: the plan.
        encoder: what each node loads.
        device: "cuda" for an encoder a GPU of the cluster, else "cpu" for one a node.
        count: how many encoders; None takes what the cluster has.
    """

    def __init__(self, plan: Plan, encoder: Encoder, device: str, count: int | None) -> None:
        import ray

        self.ray, self.plan = ray, plan
        gpus = int(ray.cluster_resources().get("GPU", 0))
        nodes = sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes())
        self.count = count or (gpus if device == "cuda" else nodes)
        if not self.count:
            raise SeitError("has no GPU", "the Ray cluster", "give --device cpu, or add nodes with GPUs")
        # An actor without a CPU of its own leaves all CPUs to decoding; SPREAD puts encoders on different nodes.
        options = {"num_gpus": 1 if device == "cuda" else 0, "num_cpus": 0, "scheduling_strategy": "SPREAD"}
        remote: Any = ray.remote
        self.actor = remote(_Worker).options(**options)
        self.decode = remote(_decode).options(num_cpus=1, max_retries=-1)
        self.how = ray.put(plan.how)
        weights = ray.put(encoder.tokenizer.to("cpu"))
        self.arguments = (
            weights,
            device,
            encoder.precision,
            encoder.compiled,
            encoder.kept,
            torch.get_num_threads(),
        )
        self.workers = [self.actor.remote(*self.arguments) for _ in range(self.count)]

    def start(self, shard: Shard, number: int) -> list[Any]:
        """Hands a shard to encoder `number`; returns what its batches will be, and its provenance."""
        worker = self.workers[number]
        decoded = [self.decode.remote(images, self.how, self.plan.batch) for images in self.plan.batches(shard)]
        return [*(worker.encode.remote(batch) for batch in decoded), worker.provenance.remote()]

    def revive(self, number: int) -> None:
        """Puts a new encoder in the place of one that died."""
        worker = self.workers[number]
        try:
            self.ray.get(worker.provenance.remote(), timeout=60)
        except self.ray.exceptions.RayError:
            self.ray.kill(worker)
            self.workers[number] = self.actor.remote(*self.arguments)


def run(
    plan: Plan,
    waiting: list[Shard],
    encoder: Encoder,
    device: str,
    count: int | None,
    seen: Callable[[Sequence[Facts | Bad]], None],
) -> Iterator[tuple[Shard, Staged, dict[str, str]]]:
    """Encodes shards on the cluster that Ray finds (RAY_ADDRESS, else this machine), yielding each when it is
    whole.

    Args:
        plan: the whole plan.
        waiting: the shards to do.
        encoder: the tokenizer.
        device: "cuda" or "cpu".
        count: encoders; by default one a GPU, or one a node.
        seen: told what is known of the images of each shard; may raise.

    Yields:
        A shard, its rows, and the provenance of who encoded it; in the order in which they end.

    Raises:
        SeitError: Ray is not installed, the cluster has no GPU, or a shard fails again and again.
    """
    try:
        import ray
    except ImportError:
        raise SeitError("Ray is not installed", "--engine ray", "pip install 'seit[ray]'") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    cluster = _Cluster(plan, encoder, device, count)
    todo, tries, hands = list(reversed(waiting)), dict[int, int](), dict[Any, tuple[Shard, int, list[Any]]]()
    try:
        while todo or hands:
            for number in range(cluster.count):
                while todo and sum(held[1] == number for held in hands.values()) < _AHEAD:
                    shard = todo.pop()
                    parts = cluster.start(shard, number)
                    hands[parts[-1]] = (shard, number, parts)
            ready, _ = ray.wait(list(hands), num_returns=1)
            shard, number, parts = hands.pop(ready[0])
            try:
                *batches, provenance = ray.get(parts)
            except ray.exceptions.RayError as error:
                tries[shard.number] = tries.get(shard.number, 0) + 1
                _log.warning("shard %d is encoded again: %s", shard.number, type(error).__name__)
                if tries[shard.number] == _TRIES or isinstance(error, ray.exceptions.RayTaskError):
                    what = f"shard {shard.number} failed ({str(error).strip().splitlines()[-1][:200]})"
                    raise SeitError(what, "the Ray cluster", "mend that and run the same command again") from error
                todo.append(shard)
                cluster.revive(number)
                continue
            found = [one for _, facts in batches for one in facts]
            seen(found)
            yield shard, plan.staged(shard, [ids for ids, _ in batches], found), provenance
    finally:
        for worker in cluster.workers:
            ray.kill(worker)
