"""Every command that takes a token data set takes its URL, or says in one line why not."""

import shutil

import numpy as np
import pytest

import seit
from seit.errors import SeitError
from seit.store import TokenDataset

pytest.importorskip("fsspec", reason="needs fsspec")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(tokens, tmp_path):
    """The shapes' tokens behind a URL, in a folder of their own."""
    shutil.copytree(tokens, tmp_path / "there.tokens")
    return f"file://{tmp_path}/there.tokens"


def ids(place):
    data = TokenDataset(place)
    return data.tokenizer_ids(np.arange(len(data)))


@pytest.mark.parametrize(
    "words",
    [
        "info URL",
        "info URL --classes",
        "show URL",
        "show URL --augment --rows 1",
        "verify URL",
        "verify URL --decode",
        "subset URL out --split val",
        "merge out URL",
        "convert URL out --codec zero-order",
        "convert URL out --to npy",
        "append grown URL",
        "eval RUN --tokens URL",
        "tokenize SHAPES out --tokenizer patch4 --size 32 --within URL",
        "train URL --out new-run --set epochs=1 --set batch_size=30",
    ],
)
def test_a_url_is_read_wherever_a_data_set_is(cli, url, tokens, shapes, run, tmp_path, words):
    shutil.copytree(tokens, tmp_path / "grown")
    names = {"URL": url, "RUN": run, "SHAPES": shapes}
    ended = cli(*(names.get(word, word) for word in words.split()), "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert not list(tmp_path.glob("*:*")), "no folder is called after a URL"
    if words.startswith("show"):
        assert (tmp_path / "there.tokens.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("repair URL", "change a local copy, then seit push it"),
        ("append URL tokens", "change a local copy, then seit push it"),
        ("edit URL --terms mine", "change a local copy, then seit push it"),
        ("push URL s3://bucket/x", "push a folder"),
        ("convert tokens s3://bucket/x", "write it here, then seit push"),
        ("convert tokens s3://bucket/x --to npy", "write it here, then seit push"),
        ("subset tokens s3://bucket/x", "write it here, then seit push"),
        ("merge s3://bucket/x tokens", "write it here, then seit push"),
        ("tokenize SHAPES s3://bucket/x", "write it here, then seit push"),
        ("train tokens --out s3://bucket/x", "write it here, then seit push"),
        ("show tokens --out s3://bucket/x.png", "write it here, then seit push"),
        ("push tokens file://x", "write file:///, then the path from the root on"),
        ("push tokens hf://me/toy", "give hf://datasets/OWNER/NAME"),
        ("push tokens memory://x --overwrite", "choose another URL"),
        ("info file:///nowhere/at/all", "is not a token data set"),
        ("verify file:///nowhere/at/all", "is not a token data set"),
        ("eval RUN --tokens file:///nowhere/at/all", "is not a token data set"),
        ("train file:///nowhere/at/all --out new-run", "is not a token data set"),
        ("append nothere tokens", "nothere: is not a token data set"),
    ],
)
def test_what_a_url_cannot_do_is_said_in_one_line(cli, url, tokens, shapes, run, tmp_path, words, said):
    names = {"URL": url, "RUN": run, "SHAPES": shapes, "tokens": tokens}
    before = sorted(tmp_path.rglob("*"))
    ended = cli(*(names.get(word, word) for word in words.split()))
    assert ended.code == 1
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def test_functions_refuse_a_url_to_write_to_as_well(tokens, shapes, tmp_path):
    for call in (
        lambda: seit.convert(tokens, "s3://bucket/x", to="npy"),
        lambda: seit.subset(tokens, "s3://bucket/x"),
        lambda: seit.tokenize(shapes, "s3://bucket/x", tokenizer="patch4", size=32),
    ):
        with pytest.raises(SeitError, match="is a URL, and a place on this machine is needed"):
            call()
    assert not list(tmp_path.glob("s3*"))


def test_verify_names_the_damaged_files_of_a_url(cli, url, tmp_path):
    train, val = TokenDataset(tmp_path / "there.tokens").manifest.shards
    folder = tmp_path / "there.tokens"
    data = bytearray((folder / val.data.file).read_bytes())
    data[-1] ^= 1
    (folder / val.data.file).write_bytes(data)
    (folder / train.side.file).unlink()
    with open(folder / train.data.file, "ab") as file:
        file.write(b"x")
    for options in (("--decode",), ()):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        ended = cli("verify", url, *options)
        assert ended.code == 3
        assert ended.out.splitlines() == [
            f"{train.data.file}: has more bytes instead of {train.data.bytes}",
            f"{train.side.file}: is missing",
            f"{val.data.file}: does not match its SHA-256",
        ]
    assert not list((tmp_path / "cache").rglob("*-*.arrow")), "nothing is kept"
