"""`seit train` on rows that carry several classes, and on shares of classes."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import seit
from seit.store import RowTable, TokenDataset, TokenWriter

SHORT = {"epochs": "2", "batch_size": "20", "precision": "float32"}


@pytest.mark.parametrize("kind", ["multi", "soft"])
def test_labels_of_other_kinds_train_and_are_measured(kind, tokens, tmp_path, cli):
    whole = TokenDataset(tokens)
    out = tmp_path / "other.tokens"
    writer = TokenWriter(
        out,
        tokenizer=whole.tokenizer,
        codebook=whole.codebook,
        grid=whole.grid,
        classes=whole.classes,
        source={"name": "shapes"},
        plan="other labels",
        codec="zero-order",
    )
    for part, split in enumerate(("train", "val")):
        rows = TokenDataset(tokens, split)
        one = np.eye(3)[rows.labels_at(range(len(rows)))]
        labels = one > 0 if kind == "multi" else (0.7 * one + 0.1).astype(np.float32)
        names = RowTable.named(rows.names(range(len(rows))))
        writer.write(part, split, rows.ids(range(len(rows))), labels, names)
    writer.commit()
    result = seit.train(out, tmp_path / "run", settings=SHORT)
    name = "map" if kind == "multi" else "top1"
    assert 1 / 3 < result[name] <= 1
    assert result[f"best_{name}"] >= result[name]
    assert (tmp_path / "run" / "best" / "config.json").exists()
    assert "trunk.fc.weight" in load_file(tmp_path / "run" / "best" / "model.safetensors")
    evaluated = seit.eval(tmp_path / "run", tokens=out)
    assert evaluated[name] == result[name]
    assert set(evaluated["per_class"]) == set(whole.classes)
    code, printed, _ = cli("eval", tmp_path / "run", "--tokens", out)
    assert code == 0
    assert f"{100 * result[name]:.2f}%" in printed
    assert ("per class (average precision)" in printed) == (kind == "multi")
