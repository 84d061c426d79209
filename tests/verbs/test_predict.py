"""`seit predict` and `seit eval --images` take any tree of pictures, and say what of it they leave out."""

from __future__ import annotations

import json
import shutil
import tarfile

import pytest
from drawn import picture

import seit
from seit.errors import ImageError, SeitError
from seit.images.account import OTHER, OTHER_KIND, UNDECODABLE, Account


def draw(root, *names):
    """Writes a picture under each name, whatever its ending."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture("circle", number).save(root / name, "JPEG")
    return root


TREES = {
    "splits": ["train/cat/1.jpg", "val/cat/2.jpg", "test/dog/3.jpg", "extra/4.jpg"],
    "classes of one split": ["train/cat/1.jpg", "train/dog/2.jpg", "val/fox/3.jpg"],
    "loose beside folders": ["1.jpg", "a/2.jpg", "a/b/c/3.jpg"],
    "a folder called train": ["train/1.jpg", "station/2.jpg", "station/deep/3.jpg"],
    "endings": ["1.jfif", "2.JPE", "3.jpeg", "4.webp"],
    "odd endings": ["photo", "1.jpg.bak", "2.dat", "a/3.jpg_large", "b.txt"],
}


@pytest.mark.parametrize("tree", TREES)
def test_every_picture_below_a_folder_is_predicted(tree, run, tmp_path):
    draw(tmp_path, *TREES[tree])
    found = seit.predict(run, [tmp_path])
    assert [p["image"] for p in found] == sorted(str(tmp_path / name) for name in TREES[tree])


def test_what_is_left_out_is_told(run, tmp_path, cli):
    draw(tmp_path / "in", "a/1.jpg", "b/2.heic", ".hidden/3.jpg", "c/4.cr2")
    (tmp_path / "in/notes.txt").write_text("none")
    with tarfile.open(tmp_path / "in/x.tar", "w"):
        pass
    account = Account()
    assert len(seit.predict(run, [tmp_path / "in"], account=account)) == 2  # the .heic is a JPEG, told by its bytes
    assert account.left_out[OTHER].names == ["notes.txt"]
    assert account.left_out[OTHER_KIND].names == ["x.tar"]
    ended = cli("predict", run, tmp_path / "in", "--json")
    told = [line for line in ended.err.splitlines() if not line.startswith("predict:")]
    assert told[0] == f"found 2 images of {tmp_path}/in"
    assert "notes.txt" in told[1]
    assert "x.tar" in told[1]
    assert json.loads(ended.out)["account"]["total"] == 6


def test_a_dry_run_says_what_would_be_read_and_stops(run, shapes, tmp_path, cli):
    for line in (
        ("predict", run, shapes, "--out", tmp_path / "p.csv"),
        ("eval", run, "--images", shapes),
        ("tokenize", shapes, tmp_path / "tokens", "--tokenizer", "nowhere.safetensors"),
    ):
        ended = cli(*line, "--dry-run", "--json")
        assert ended.code == 0, ended.err
        assert [text.split()[0] for text in ended.err.splitlines()] == ["found", "left"]
        assert json.loads(ended.out)["account"]["images"] == 84
    assert not list(tmp_path.iterdir())


def test_archives_and_tables_are_predicted_too(run, shapes, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(shapes / "val", "val")
    (tmp_path / "x.csv").write_text(f"path\n{shapes}/val/circle/00.jpg\n")
    assert len(seit.predict(run, [tmp_path / "x.tar"])) == 24
    (one,) = seit.predict(run, [tmp_path / "x.csv"])
    assert one["top"] == seit.predict(run, [shapes / "val/circle/00.jpg"])[0]["top"]


def test_a_missing_file_is_an_error_whatever_is_borne(run, tmp_path):
    with pytest.raises(ImageError, match=r"no such file or folder; check the path"):
        seit.predict(run, [tmp_path / "nowhere.jpg"], on_error="skip")


def test_eval_takes_folders_that_training_would_refuse(run, shapes, tmp_path):
    expected = seit.eval(run, images=shapes)
    tree = shutil.copytree(shapes, tmp_path / "tree")
    shutil.rmtree(tree / "train/circle")
    (tree / "train/owl").mkdir()
    draw(tree, "loose.jpg", "val/loose.jpg", "extra/1.jpg", "test/circle/1.jpg", "val/circle/x.heic")
    with pytest.raises(ImageError):
        seit.tokenize(tree, tmp_path / "tokens")
    account = Account()
    found = seit.eval(run, images=tree, account=account)
    assert found["confusion"] == expected["confusion"]
    assert account.left_out[UNDECODABLE].names == ["val/circle/x.heic"]
    assert account.total == sum(path.is_file() for path in tree.rglob("*"))


def test_lists_of_several_classes_are_for_data_sets_of_tokens(run, shapes, tmp_path):
    lines = [{"path": str(shapes / "val/circle/00.jpg"), "label": ["circle", "square"], "split": "val"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SeitError, match="several classes of an image"):
        seit.eval(run, images=tmp_path / "x.jsonl")
