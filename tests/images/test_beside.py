"""What lies beside pictures: archives and tables do not take their place, and tables that name them label them."""

from __future__ import annotations

import json
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import png, write_files, write_tar

from seit.errors import ImageError
from seit.images import open_source
from seit.images.account import OTHER_KIND

TREE = [f"{split}/{kind}/{i}.jpg" for split in ("train", "val") for kind in ("cat", "dog") for i in range(4)]


def labels(source):
    """Returns file name -> class."""
    return {
        name: source.classes[label] if label >= 0 else None
        for name, label in zip(source.names, source.labels.tolist(), strict=True)
    }


@pytest.mark.parametrize("where", ["", "train/", "train/cat/"])
@pytest.mark.parametrize(
    "stray", ["old.tar", "metadata.parquet", "features.parquet", "labels.csv", "x.jsonl", "d.arrow"]
)
def test_class_folders_go_before_a_stray_archive_or_table(stray, where, tmp_path):
    write_files(tmp_path, {name: png(i) for i, name in enumerate(TREE)})
    path = tmp_path / where / stray
    table = pa.table({"file_name": ["cat/0.jpg"], "label": ["dog"], "score": [0.5]})
    if stray.endswith("tar"):
        write_tar(path, {"x/1.jpg": png(1)})
    elif stray.endswith("parquet"):
        pq.write_table(table, path)
    elif stray.endswith("arrow"):
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table)
    else:
        path.write_text("file_name,label\ncat/0.jpg,dog\n" if stray.endswith("csv") else '{"file_name": "x"}\n')
    source = open_source(tmp_path)
    assert labels(source) == {name: name.split("/")[1] for name in TREE}
    assert source.account.left_out[OTHER_KIND].names == [f"{where}{stray}"]
    assert stray in source.account.lines()[1]


def test_a_table_of_more_pictures_goes_before_the_pictures_of_a_readme(tmp_path):
    write_files(tmp_path, {"assets/a.png": png(1), "figures/b.png": png(2)})
    (tmp_path / "data").mkdir()
    pq.write_table(
        pa.table({"image": [png(i) for i in range(5)], "label": list("abaab")}), tmp_path / "data/train.parquet"
    )
    source = open_source(tmp_path)
    assert source.classes == ["a", "b"]
    assert len(source) == 5
    assert sorted(source.account.left_out[OTHER_KIND].names) == ["assets/a.png", "figures/b.png"]


def test_pictures_in_no_class_folder_beside_a_tar_are_a_clash_that_is_named(tmp_path):
    write_files(tmp_path, {"a.png": png(1), "b.png": png(2)})
    write_tar(tmp_path / "x.tar", {"1.jpg": png(1), "1.cls": b"0"})
    with pytest.raises(
        ImageError, match=r"holds 2 pictures and also x\.tar; name the \.tar files alone \(.*/\*\.tar\)"
    ):
        open_source(tmp_path)
    assert len(open_source(f"{tmp_path}/*.tar")) == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("layout", ["flat", "split folders", "one folder", "above"])
def test_metadata_names_the_labels_of_pictures_in_no_class_folders(layout, ending, tmp_path):
    folders = {"flat": [""], "split folders": ["train/", "test/"], "one folder": ["images/"], "above": ["a/b/"]}[
        layout
    ]
    expected = {}
    for number, folder in enumerate(folders):
        kinds = ["cat", "dog", "cat", "owl"] if number == 0 else ["dog", "cat", "owl", "cat"]
        write_files(tmp_path, {f"{folder}{i}.jpg": png(i) for i in range(4)})
        expected |= {f"{folder}{i}.jpg": kind for i, kind in enumerate(kinds)}
        table_at = "" if layout == "above" else folder
        names = [f"{'' if table_at == folder else folder}{i}.jpg" for i in range(4)]
        frame = pd.DataFrame({"file_name": names, "label": kinds})
        path = tmp_path / table_at / f"metadata.{ending}"
        if ending == "csv":
            frame.to_csv(path, index=False)
        elif ending == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
    source = open_source(tmp_path)
    assert labels(source) == expected
    assert source.account.label_files == len(folders)
    assert source.account.total == len(expected) + len(folders)
    assert "column 'label' of" in source.account.lines()[0]
    if layout == "split folders":
        assert source.splits == {"train": 4, "val": 4}


def test_metadata_agrees_with_what_datasets_reads(tmp_path):
    datasets = pytest.importorskip("datasets")
    write_files(tmp_path / "src/train", {f"{i}.png": png(i) for i in range(6)})
    rows = [{"file_name": f"{i}.png", "label": "cat" if i % 3 else "dog"} for i in range(6)]
    (tmp_path / "src/train/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    theirs = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "src"), cache_dir=str(tmp_path / "cache"))
    source = open_source(tmp_path / "src")
    ours = {image.read(): source.classes[image.label] for image in source}
    assert ours == {png(row["image"].getpixel((0, 0))[0]): row["label"] for row in theirs["train"]}


def test_metadata_by_file_name_or_key_without_an_ending(tmp_path):
    write_files(tmp_path / "images", {f"{i:03d}.jpg": png(i) for i in range(4)})
    (tmp_path / "labels.csv").write_text("image_id,breed,split\n000,pug,train\n001,poodle,train\n002,pug,test\n")
    source = open_source(tmp_path)
    assert labels(source) == {
        "images/000.jpg": "pug",
        "images/001.jpg": "poodle",
        "images/002.jpg": "pug",
        "images/003.jpg": None,
    }
    assert source.splits == {"train": 3, "val": 1}
    assert source.account.unlabelled.names == ["images/003.jpg"]


def test_a_table_beside_tars_without_labels_labels_them_by_key(tmp_path):
    for shard in range(2):
        members = {}
        for i in range(3):
            members |= {f"{shard}{i:04d}.jpg": png(10 * shard + i), f"{shard}{i:04d}.txt": b"a caption"}
        write_tar(tmp_path / f"{shard:05d}.tar", members)
        table = {"key": [f"{shard}{i:04d}" for i in range(3)], "url": ["x"] * 3, "label": ["a", "b", "a"]}
        pq.write_table(pa.table(table), tmp_path / f"{shard:05d}.parquet")
    source = open_source(tmp_path)
    assert sorted(labels(source).values()) == ["a"] * 4 + ["b"] * 2
    assert source.account.label_files == 2


def test_several_lists_in_a_folder_are_one_source(tmp_path):
    write_files(tmp_path / "elsewhere", {f"{i}.png": png(i) for i in range(4)})
    (tmp_path / "lists").mkdir()
    for name, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        lines = "".join(f"../elsewhere/{i}.png,{'ab'[i % 2]}\n" for i in numbers)
        (tmp_path / f"lists/{name}.csv").write_text(f"path,label\n{lines}")
    source = open_source(tmp_path / "lists")
    assert source.splits == {"train": 3, "val": 1}
    assert source.classes == ["a", "b"]


def test_backslashes_in_a_zip_of_old_windows_tools_are_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for kind in ("cat", "dog"):
            for i in range(3):
                info = zipfile.ZipInfo("x")
                info.filename = f"data\\{kind}\\{i}.jpg"
                archive.writestr(info, png(i))
    source = open_source(tmp_path / "x.zip")
    assert source.classes == ["cat", "dog"]
    assert sorted(source.names)[0] == "data/cat/0.jpg"
