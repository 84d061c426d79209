"""Two processes that `torchrun` starts train to the weights of one, evaluate exactly, and hand over to one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks_program
import torch
from safetensors.torch import load_file
from test_split_batches import SMALL, weights_of
from toys import Toy

import seit
from seit import ranks
from seit.errors import SeitError
from seit.evaluation import accuracy, mean_average_precision
from seit.tokenizing.ranks import Rank
from seit.training import loop

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def two(tokens, tmp_path_factory) -> Path:
    """What two processes left: one start for all tests, because it costs seconds."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += map(str, [HERE / "ranks_program.py", folder, tokens])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("name", "count"), [("even", 41), ("odd", 9)])
def test_two_processes_train_to_the_weights_of_one(name, count, two, tmp_path):
    """With CutMix, Emb-Noise and stochastic depth; of nine rows, one short batch, the two get unlike parts."""
    one = weights_of(SMALL, tmp_path / "one", Toy(count))
    found = load_file(two / f"{name}.safetensors")
    assert max((one[key] - found[key]).abs().max() for key in one) < 1e-4


def test_the_sums_of_two_processes_are_the_accuracy_of_all_rows(two):
    found = json.loads((two / "found.json").read_text())
    one = accuracy(ranks_program.logits_of, Toy(41, seed=3), ["a", "b", "c"], silent=True)
    assert found["accuracy"] == one
    assert one["rows"] == 41
    several = mean_average_precision(ranks_program.logits_of, ranks_program.Several(41, seed=3), ["a", "b", "c"])
    assert found["precision"] == several


def test_the_accuracy_of_processes_with_batch_norm_is_that_of_the_network_that_is_saved(two):
    """Each process has running statistics of its own, of which the first one's are saved."""
    mine, theirs = (load_file(two / f"norm-{rank}.safetensors") for rank in (0, 1))
    names = [name for name in mine if name.startswith("seen")]
    assert len(names) > 10
    for name in names:
        assert torch.equal(mine[name], theirs[name])
        assert torch.equal(mine[name], mine[name.replace("seen", "saved")])


def test_one_process_goes_on_from_two_in_the_same_order(two, tmp_path, monkeypatch):
    assert json.loads((two / "found.json").read_text())["stopped"]
    monkeypatch.setattr(loop, "update", loop.update)
    ranks_program.watch(two)
    found = weights_of(SMALL, two / "stopped", Toy(41))
    monkeypatch.undo()
    one = weights_of(SMALL, tmp_path / "one", Toy(41))
    assert max((one[key] - found[key]).abs().max() for key in one) < 1e-4

    def fed(name):
        return [json.loads(line) for line in (two / name).read_text().splitlines()]

    both = zip(fed("fed-2-0.jsonl"), fed("fed-2-1.jsonl"), strict=True)
    steps = [[epoch, sorted(mine + theirs)] for (epoch, mine), (_, theirs) in both]
    alone = fed("fed-1-0.jsonl")
    # Interrupted in the second epoch's evaluation: all six steps were kept.
    whole = [[epoch, list(range(12 * step, 12 * step + 12))] for epoch in range(3) for step in range(3)]
    assert steps == whole[:6]
    assert alone == whole[6:]


def test_the_command_line_prints_once_and_leaves_one_run(two):
    assert [(two / f"command-{rank}.code").read_text() for rank in (0, 1)] == ["0", "0"]
    result = json.loads((two / "command-0.txt").read_text())
    assert (two / "command-1.txt").read_text() == ""
    assert result["held_out_rows"] == 24
    lines = [json.loads(line) for line in (two / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert seit.load(two / "run").classes == ["circle", "square", "stripes"]
    # What rank 0 finds on the disk stops all of them.
    assert [(two / f"wrong-{rank}.code").read_text() for rank in (0, 1)] == ["1", "1"]
    assert "exists and is not a run" in (two / "wrong-0.txt").read_text()


@pytest.mark.parametrize(
    "variables",
    [
        {"LOCAL_RANK": "0"},
        {"LOCAL_RANK": ""},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"},
        {"WORLD_SIZE": "", "RANK": "3"},
    ],
)
def test_rank_variables_of_one_process_mean_one_process(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ranks.join("cpu")
    assert (ranks.rank(), ranks.count()) == (0, 1)
    assert Rank.of_environment() == Rank()


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"},
        {"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "two", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
    ],
)
def test_rank_variables_that_do_not_fit_each_other_are_named_in_one_line(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SeitError, match=r"WORLD_SIZE.*MASTER_PORT.*; start with torchrun, or unset them"):
        ranks.join("cpu")
