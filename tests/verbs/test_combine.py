"""append, merge, subset and push: token data sets out of others' rows, by the functions and the command line."""

import json

import numpy as np
import pytest

import seit
from seit.errors import StoreError
from seit.store import TokenDataset
from seit.store.verify import verify


def rows_of(path, split=None):
    data = TokenDataset(path, split)
    every = np.arange(len(data))
    return list(zip(data.names(every), data.labels.tolist(), map(bytes, data.tokenizer_ids(every)), strict=True))


def test_a_subset_holds_the_chosen_rows_of_each_split(tokens, tmp_path):
    info = seit.subset(tokens, tmp_path / "some", classes=["circle", "stripes"], every=2)
    assert info["splits"] == {"train": 20, "val": 8}
    for split in ("train", "val"):
        kept = [row for row in rows_of(tokens, split) if row[1] != 1]
        assert rows_of(tmp_path / "some", split) == kept[::2]
    assert verify(tmp_path / "some", decode=True) == []


def test_parts_merged_are_the_whole(tokens, tmp_path):
    seit.subset(tokens, tmp_path / "train", split="train")
    seit.subset(tokens, tmp_path / "val", split="val")
    seit.merge([tmp_path / "train", tmp_path / "val"], tmp_path / "whole")
    assert rows_of(tmp_path / "whole") == rows_of(tokens)


def test_append_grows_each_split(cli, tokens, tmp_path):
    seit.subset(tokens, tmp_path / "grown", classes=["circle"])
    ended = cli("append", tmp_path / "grown", tokens)
    assert ended.code == 0, ended.err
    assert "80 train, 32 val rows" in ended.out
    for split in ("train", "val"):
        before = [row for row in rows_of(tokens, split) if row[1] == 0]
        assert rows_of(tmp_path / "grown", split) == before + rows_of(tokens, split)


def test_push_copies_to_a_url_that_opens(cli, tokens, tmp_path, monkeypatch):
    pytest.importorskip("fsspec", reason="needs fsspec")
    monkeypatch.setenv("SEIT_CACHE", str(tmp_path / "cache"))
    seit.subset(tokens, tmp_path / "grows", classes=["circle"])
    for _ in range(2):
        ended = cli("push", tmp_path / "grows", f"file://{tmp_path}/copy", "--json")
        assert ended.code == 0, ended.err
        url = json.loads(ended.out)["url"]
        assert rows_of(url) == rows_of(tmp_path / "grows")
        assert seit.info(url)["splits"] == seit.info(tmp_path / "grows")["splits"]
        seit.append(tmp_path / "grows", tokens)


def test_what_cannot_be_combined_is_refused(tokens, tmp_path):
    with pytest.raises(StoreError, match="no class 'cirle'; did you mean 'circle'"):
        seit.subset(tokens, tmp_path / "x", classes=["cirle"])
    with pytest.raises(StoreError, match="no split 'test'"):
        seit.subset(tokens, tmp_path / "x", split="test")
    with pytest.raises(StoreError, match="is not a URL; give hf://datasets/OWNER/NAME"):
        seit.push(tokens, str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
