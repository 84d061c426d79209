"""What each process does that `test_ranks.py` starts with `torchrun`: python ranks_program.py FOLDER TOKENS."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from test_split_batches import SMALL, weights_of
from toys import Toy, Watch, trained

import seit.cli
from seit import ranks
from seit.augment.draws import Draws
from seit.evaluation import accuracy, mean_average_precision
from seit.training import loop


def watch(folder: Path) -> None:
    """Notes the positions of every step that this process makes."""
    update = loop.update

    def noted(state, objective, batch, *others):
        with open(folder / f"fed-{ranks.count()}-{ranks.rank()}.jsonl", "a") as file:
            file.write(json.dumps([batch.epoch, batch.positions.tolist()]) + "\n")
        return update(state, objective, batch, *others)

    loop.update = noted


def interrupted(evaluation: int) -> Watch:
    """Returns an evaluation in whose n-th call every process is asked to end."""
    calls = []

    def measure(model):
        calls.append(1)
        if len(calls) == evaluation:
            raise KeyboardInterrupt

    return Watch(measure)


def logits_of(ids: torch.Tensor) -> torch.Tensor:
    """Returns logits [n, 3] that depend on the ids alone."""
    keys = ids.flatten(1).sum(1).long()
    return Draws(0, 0, keys, batch=1).uniform("logits", 3)


class Several(Toy):
    """Rows of several classes."""

    def batch(self, indices):
        ids, labels = super().batch(indices)
        return ids, (labels[:, None] <= range(3))


def batch_norm(folder: Path) -> None:
    """Trains a network whose processes gather statistics of their own; each notes those that it evaluates by."""

    def measure(model):
        seen[:] = [value.clone() for name, value in model.state_dict().items() if "running" in name]
        return {"top1": 0.5}

    seen: list[torch.Tensor] = []
    recipe = replace(SMALL, trunk="mini_resnet", drop_path=0.0, ema=0.9)
    model, _ = trained(Toy(41), recipe, folder / "norm", Watch(measure))
    saved = [value for name, value in model.state_dict().items() if "running" in name]
    save_file(
        {f"{kind}{i}": v for kind, vs in (("seen", seen), ("saved", saved)) for i, v in enumerate(vs)},
        folder / f"norm-{ranks.rank()}.safetensors",
    )


def call(folder: Path, name: str, *arguments: object) -> None:
    """Calls the command line; notes its exit code and what this process printed."""
    sys.argv = ["seit", *map(str, arguments), "--json"]
    code = 0
    with open(folder / f"{name}-{ranks.rank()}.txt", "w") as out, contextlib.redirect_stdout(out):
        try:
            seit.cli.main()
        except SystemExit as end:
            code = end.code
    (folder / f"{name}-{ranks.rank()}.code").write_text(str(code))


def main() -> None:
    """Trains in whole and in part, and evaluates; rank 0 writes what it found."""
    folder, tokens = map(Path, sys.argv[1:])
    ranks.join("cpu")
    torch.set_num_threads(1)
    assert ranks.count() == 2
    found = {}
    for name, rows in (("even", Toy(41)), ("odd", Toy(9))):
        weights = weights_of(SMALL, folder / name, rows)
        if ranks.rank() == 0:
            save_file(weights, folder / f"{name}.safetensors")
    found["accuracy"] = accuracy(logits_of, Toy(41, seed=3), ["a", "b", "c"], silent=True)
    found["precision"] = mean_average_precision(logits_of, Several(41, seed=3), ["a", "b", "c"])
    batch_norm(folder)
    settings = ["--set", "epochs=2", "--set", "batch_size=20", "--set", "precision=float32"]
    call(folder, "command", "train", tokens, "--out", folder / "run", *settings)
    call(folder, "wrong", "train", tokens, "--out", tokens)
    watch(folder)
    try:
        weights_of(SMALL, folder / "stopped", Toy(41), interrupted(2))
    except KeyboardInterrupt:
        found["stopped"] = True
    if ranks.rank() == 0:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
