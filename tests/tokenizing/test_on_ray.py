"""On a cluster of several nodes, one of which dies in the middle, the store is the one that a single process
makes."""

from __future__ import annotations

import os

import pytest
import torch
from tokenizing_stores import AS_SHAPES, content

import seit

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'seit[ray]'")


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster on this machine: a head that computes nothing, and two nodes of two CPUs."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_DEDUP_LOGS"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=2, resources={f"node{i}": 1}) for i in range(2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    made.wait_for_nodes()
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_costs_its_shards_and_nothing_else(cluster, shapes, undisturbed, tmp_path, monkeypatch):
    from seit.verbs import tokenize as job

    made, nodes = cluster
    written, write = [], job.TokenWriter.write

    def losing(self, *arguments):
        write(self, *arguments)
        written.append(arguments[0])
        if len(written) == 1:
            made.remove_node(nodes[1], allow_graceful=False)  # SIGKILL to all of its processes

    monkeypatch.setattr(job.TokenWriter, "write", losing)
    seit.tokenize(shapes, tmp_path / "out", engine="ray", device="cpu", **AS_SHAPES)
    made.wait_for_nodes(timeout=60)  # Ray may hear of the death after the job's end
    assert sum(node["Alive"] for node in ray.nodes()) == 2  # the head and one of two
    assert sorted(written) == list(range(6))  # each shard once
    assert content(tmp_path / "out") == content(undisturbed)
    threads = seit.info(tmp_path / "out")["tokenizer"]["provenance"]["threads"]
    assert threads == str(torch.get_num_threads())
