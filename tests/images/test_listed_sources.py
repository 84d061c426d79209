"""Tables, WebDataset tars and lists of the same images give the same labels by name, and refuse what they cannot
say."""

from __future__ import annotations

import io
import json
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from seit.errors import ImageError
from seit.images import open_source
from seit.images.saved import load_listing, save_listing


def png(number: int) -> bytes:
    file = io.BytesIO()
    Picture.new("RGB", (4, 3), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


ROWS = [("dog", 0), ("cat", 1), ("dog", 2), ("cat", 3), ("emu", 4), ("cat", 5), ("dog", 6), ("emu", 7)]
TRAIN, VAL = ROWS[:5], ROWS[5:]


def facts(source):
    return [(image.split, source.classes[image.label], image.read()) for image in source]


EXPECTED = [(split, label, png(n)) for split, rows in (("train", TRAIN), ("val", VAL)) for label, n in rows]


def datasets_schema(label_type, names):
    """The schema that Hugging Face `datasets` writes: an image is {bytes, path}, a ClassLabel's names are
    metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([("image", image), ("label", label_type)], metadata)


def table_of(rows, names=("cat", "dog", "emu")):
    columns = {
        "image": [{"bytes": png(n), "path": f"{n}.png"} for _, n in rows],
        "label": [names.index(label) for label, _ in rows],
    }
    return pa.table(columns, datasets_schema(pa.int64(), list(names)))


def test_parquet_of_datasets_gives_class_names_and_splits(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(table_of(TRAIN), tmp_path / "data/train-00000-of-00001.parquet", row_group_size=2)
    pq.write_table(table_of(VAL[:1]), tmp_path / "data/validation-00000-of-00002.parquet")
    pq.write_table(table_of(VAL[1:]), tmp_path / "data/validation-00001-of-00002.parquet")
    for src in (tmp_path, f"{tmp_path}/data/*.parquet"):
        source = open_source(src)
        assert facts(source) == EXPECTED
        assert source.classes == ["cat", "dog", "emu"]
        assert source.split_rule == "as the source names them"
    assert source.names[0] == "train-00000-of-00001.parquet/000000"


def test_a_folder_of_save_to_disk_is_read_without_copying_it(tmp_path):
    for split, rows in (("train", TRAIN), ("test", VAL)):
        (tmp_path / split).mkdir()
        table = table_of(rows)
        with pa.ipc.new_stream(tmp_path / split / "data-00000-of-00001.arrow", table.schema) as out:
            out.write_table(table, max_chunksize=2)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert facts(open_source(tmp_path)) == EXPECTED


def test_a_table_of_plain_bytes_and_text_labels_by_the_names_of_its_columns(tmp_path):
    columns = {"pixels": [png(n) for _, n in TRAIN], "id": list(range(5)), "kind": [label for label, _ in TRAIN]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet", image_column="pixels", label_column="kind")
    found = {(source.classes[image.label], image.read()) for image in source}
    assert found == {(label, png(n)) for label, n in TRAIN}
    with pytest.raises(ImageError, match=r"x\.parquet: has no column 'pixel'; .*'pixels'"):
        open_source(tmp_path / "x.parquet", image_column="pixel")


def wds(path, rows, label=lambda name, n: {"cls": name.encode()}):
    with tarfile.open(path, "w") as tar:
        for name, number in rows:
            members = {"jpg": png(number), **label(name, number)}
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{number:04d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def test_webdataset_tars_give_labels_by_cls_json_or_txt(tmp_path):
    wds(tmp_path / "imagenet-train-000.tar", TRAIN[:3])
    wds(tmp_path / "imagenet-train-001.tar", TRAIN[3:])
    wds(tmp_path / "imagenet-val-000.tar", VAL)
    for src in (tmp_path, f"{tmp_path}/*.tar"):
        assert facts(open_source(src)) == EXPECTED
    braces = open_source(f"{tmp_path}/imagenet-train-{{000..001}}.tar")
    assert len(braces) == 5
    assert braces.split_rule.startswith("5% of each class")
    wds(tmp_path / "j.tar", TRAIN, lambda name, n: {"json": json.dumps({"label": name, "n": n}).encode()})
    assert {image.label for image in open_source(tmp_path / "j.tar")} == {0, 1, 2}
    assert open_source(tmp_path / "j.tar", label_column="n").classes == ["0", "1", "2", "3", "4"]
    wds(tmp_path / "t.tar", TRAIN, lambda name, n: {"txt": f"{name}\n".encode()})
    assert open_source(tmp_path / "t.tar", label_column="txt").classes == ["cat", "dog", "emu"]


def test_numbers_are_joined_to_names_by_a_list_of_classes(tmp_path):
    numbers = {"emu": 0, "cat": 1, "dog": 2}
    wds(tmp_path / "train.tar", TRAIN, lambda name, n: {"cls": str(numbers[name]).encode()})
    wds(tmp_path / "val.tar", VAL)  # by name
    (tmp_path / "names.txt").write_text("emu\ncat\ndog\nyak\n")
    source = open_source(tmp_path, classes=tmp_path / "names.txt")
    assert source.classes == ["emu", "cat", "dog", "yak"]
    assert facts(source) == EXPECTED
    (tmp_path / "names.txt").write_text("emu\ncat\n")
    with pytest.raises(ImageError, match="the label '2' is none of the 2 classes"):
        open_source(tmp_path / "train.tar", classes=tmp_path / "names.txt")


def test_labels_that_are_numbers_sort_as_numbers(tmp_path):
    wds(tmp_path / "x.tar", [("10", 0), ("9", 1), ("100", 2)])
    assert open_source(tmp_path / "x.tar").classes == ["9", "10", "100"]


@pytest.mark.parametrize("name", ["../0001.cls", "/etc/0001.cls"])
def test_a_webdataset_member_that_leads_outside_is_refused(name, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ImageError, match="unsafe"):
        open_source(tmp_path / "x.tar", label_column="cls")


def pictures(folder):
    for _, number in ROWS:
        (folder / f"{number}.png").write_bytes(png(number))


def test_csv_and_json_lines_of_paths_give_names_splits_and_labels(tmp_path):
    pictures(tmp_path)
    rows = [(f"{n}.png", label, split) for split, rows in (("train", TRAIN), ("val", VAL)) for label, n in rows]
    (tmp_path / "a.csv").write_text("path,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps({"file": p, "class": c, "split": s}) + "\n" for p, c, s in rows)
    )
    (tmp_path / "c.tsv").write_text("what\twho\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows))
    assert facts(open_source(tmp_path / "a.csv")) == EXPECTED
    assert facts(open_source(tmp_path / "b.jsonl")) == EXPECTED
    assert facts(open_source(tmp_path / "c.tsv", image_column="what", label_column="who")) == EXPECTED


def test_a_list_gives_views_and_a_label_of_each(tmp_path):
    pictures(tmp_path)
    lines = [
        {"path": "0.png", "label": ["dog", "cat"], "boxes": [[0, 0, 3, 4], [1, 1, 2, 2]], "flips": [False, True]},
        {"path": "1.png", "label": ["cat", None], "boxes": [[0, 0, 1, 1], [0, 0, 3, 4]]},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = open_source(tmp_path / "x.jsonl")
    by_name = {image.name: (image, source.view_labels[i].tolist()) for i, image in enumerate(source)}
    assert source.classes == ["cat", "dog"]
    assert by_name["0.png"][1] == [1, 0]
    assert by_name["1.png"][1] == [0, -1]
    assert by_name["0.png"][0].boxes == ((0, 0, 3, 4), (1, 1, 2, 2))
    assert by_name["0.png"][0].flips == (False, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "no images"),
        (
            "a.csv",
            "what,label\n1.png,a\n",
            "has no column of pictures, paths or URLs; give --image-column; its columns are what, label",
        ),
        ("a.csv", "path,label\n,a\n", "line 2: has no path"),
        ("a.csv", "path\n1.png\n1.png\n", "lists 1.png twice"),
        ("a.csv", "path,split\n1.png,dev\n", "the split 'dev' is unknown"),
        ("a.csv", "path\nftp://host/1.png\n", "neither a path nor an http(s) URL"),
        ("a.csv", "path\nfile:///etc/passwd\n", "neither a path nor an http(s) URL"),
        ("a.csv", "path\nsimplecache::http://10.0.0.1/1.png\n", "neither a path nor an http(s) URL"),
        ("a.jsonl", '{"path": \n', "line 1: is no JSON"),
        ("a.jsonl", "[1]\n", "line 1: is no JSON object"),
        ("a.jsonl", '{"path": "1.png", "label": 1.5}\n', "line 1, column 'label': 1.5 is not a class"),
        ("a.jsonl", '{"path": "1.png", "boxes": [[0, 0, 0, 4]]}\n', "line 1: its boxes"),
        ("a.jsonl", '{"path": "1.png", "boxes": [[0, 0, 1, 4]], "flips": [1]}\n', "line 1: its flips"),
        (
            "a.jsonl",
            '{"path": "1.png", "boxes": [[0, 0, 1, 1], [0, 0, 2, 2]], "label": ["a"]}\n'
            '{"path": "2.png", "boxes": [[0, 0, 1, 1], [0, 0, 2, 2]], "label": ["a", "b"]}\n',
            "other numbers",
        ),
    ],
)
def test_lists_that_say_no_sense_are_refused_with_the_line(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ImageError) as caught:
        open_source(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_cannot_steer_a_terminal(tmp_path):
    (tmp_path / "a.csv").write_text("path,label,split\n1.png,a,\x1b]0;owned\x07\u202e\n")
    with pytest.raises(ImageError) as caught:
        open_source(tmp_path / "a.csv")
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
    assert "owned" in str(caught.value)


def test_a_damaged_table_is_refused_and_a_cut_one_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"x" * 200)
    with pytest.raises(ImageError, match=r"x\.parquet: cannot be read"):
        open_source(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": [None, png(1)], "label": ["a", "b"]}), tmp_path / "y.parquet")
    reasons = []
    for image in open_source(tmp_path / "y.parquet"):
        try:
            image.read()
        except ImageError as error:
            reasons.append(str(error))
    assert len(reasons) == 1
    assert "row 0: holds no image bytes" in reasons[0]


def test_a_remote_folder_and_a_remote_tar_are_read_like_local_ones(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for split, rows in (("train", TRAIN), ("val", VAL)):
        for label, number in rows:
            memory.pipe(f"/bucket/pictures/{split}/{label}/{number}.png", png(number))
    memory.pipe("/bucket/x.tar", wds(tmp_path / "x.tar", TRAIN).read_bytes())
    memory.pipe("/bucket/list.csv", b"path,label\npictures/train/cat/1.png,cat\npictures/train/dog/0.png,dog\n")
    try:
        assert sorted(facts(open_source("memory://bucket/pictures"))) == sorted(EXPECTED)
        assert {image.read() for image in open_source("memory://bucket/x.tar")} == {png(n) for _, n in TRAIN}
        assert {image.read() for image in open_source("memory://bucket/list.csv")} == {png(0), png(1)}
        with pytest.raises(ImageError, match="nowhere"):
            open_source("memory://bucket/nowhere")
    finally:
        memory.rm("/bucket", recursive=True)


def test_an_unknown_protocol_names_the_extra():
    with pytest.raises(ImageError, match=r"seit\[remote\]"):
        open_source("warehouse://bucket/pictures")


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet", "list"])
def test_a_saved_listing_reads_the_same_images(kind, tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    pictures(src)
    if kind == "tar":
        src = wds(tmp_path / "x.tar", ROWS)
    elif kind == "parquet":
        src = tmp_path / "x.parquet"
        pq.write_table(table_of(ROWS), src, row_group_size=3)
    elif kind == "list":
        lines = [{"path": f"{n}.png", "label": [c, "cat"], "boxes": [[0, 0, 1, 1], [0, 0, 2, 2]]} for c, n in ROWS]
        src = src / "x.jsonl"
        src.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = open_source(src)
    save_listing(source, tmp_path / "listing.arrow", "key")
    again = load_listing(tmp_path / "listing.arrow", "key")
    assert [(i.name, i.split, i.label, i.boxes, i.flips, i.read()) for i in again] == [
        (i.name, i.split, i.label, i.boxes, i.flips, i.read()) for i in source
    ]
    assert (again.classes, again.split_rule, again.splits, again.name) == (
        source.classes,
        source.split_rule,
        source.splits,
        source.name,
    )
    assert np.array_equal(again.view_labels, source.view_labels)
    assert pickle.loads(pickle.dumps(again[0])) == source[0]
    assert load_listing(tmp_path / "listing.arrow", "another") is None
    assert load_listing(tmp_path / "none", "key") is None
    (tmp_path / "listing.arrow").write_bytes(b"ARROW1" * 9)
    with pytest.raises(ImageError, match="delete it and run again"):
        load_listing(tmp_path / "listing.arrow", "key")
