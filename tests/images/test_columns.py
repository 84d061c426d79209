"""One rule for labels, columns and splits, whatever kind of table they stand in."""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import png, write_files, write_tar

from seit.errors import ImageError
from seit.images import open_source
from seit.images.columns import read_classes

NAN = float("nan")
# The cells of a column, and the class of each: None is unknown.
KINDS = {
    "text": (["cat", "dog", "cat", "dog"], ["cat", "dog", "cat", "dog"]),
    "missing text": (["cat", "", None, "dog"], ["cat", None, None, "dog"]),
    "blanks around": (["cat", "cat ", " dog", "dog"], ["cat", "cat", "dog", "dog"]),
    "words for missing": (["nan", "None", "NA", "dog"], [None, None, None, "dog"]),
    "whole floats": ([0.0, 1.0, NAN, 1.0], ["0", "1", None, "1"]),
    "integers": ([0, 1, 2, 10], ["0", "1", "2", "10"]),
    "minus one": ([-1, 0, 1, -1], [None, "0", "1", None]),
    "booleans": ([True, False, True, False], ["True", "False", "True", "False"]),
    "a class called none": (["none", "tumour", "none", "tumour"], ["none", "tumour", "none", "tumour"]),
    "numbers with zeros before": (["007", "7", "07", "7"], ["007", "7", "07", "7"]),
}
REFUSED = {
    "fractions": [0.5, 1.0, 2.0, 3.0],
    "negative": [0, -2, 1, 0],
}


def write(path, labels, column="label"):
    """Writes a table of four pictures with these labels."""
    rows = [{"path": f"{i}.png", column: label} for i, label in enumerate(labels)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"image": [png(i) for i in range(len(labels))], column: labels}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def classes_of(source):
    """Returns the class of each image by the order of the table."""
    found = {}
    for position, name in enumerate(source.names):
        label = source.labels[position]
        found[int(name.rpartition("/")[2].partition(".")[0])] = source.classes[label] if label >= 0 else None
    return [found[row] for row in sorted(found)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_cell_names_the_same_class_in_every_kind_of_table(kind, ending, tmp_path):
    cells, expected = KINDS[kind]
    source = open_source(write(tmp_path / f"x.{ending}", cells))
    assert classes_of(source) == expected
    assert source.account.unlabelled.count == expected.count(None)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_no_class_is_refused_by_row_and_column(kind, ending, tmp_path):
    with pytest.raises(ImageError) as caught:
        open_source(write(tmp_path / f"x.{ending}", REFUSED[kind]))
    said = str(caught.value)
    assert "is not a class" in said
    assert "column 'label'" in said
    row = next(i for i, cell in enumerate(REFUSED[kind]) if cell < 0 or cell % 1)
    assert {"csv": f"line {row + 2},", "jsonl": f"line {row + 1},", "parquet": f"row {row},"}[ending] in said


def test_parquet_columns_of_bytes_dictionaries_and_structures(tmp_path):
    dictionary = pa.array(["cat", "dog", None, "cat"]).dictionary_encode()
    assert classes_of(open_source(write(tmp_path / "d.parquet", dictionary))) == ["cat", "dog", None, "cat"]
    text = pa.array([b"cat", b"dog", b"cat", b"\xc3\xa9"], pa.binary())
    assert classes_of(open_source(write(tmp_path / "b.parquet", text))) == ["cat", "dog", "cat", "é"]
    for cells in (pa.array([b"\xff\xfe"] * 4), pa.array([{"name": "cat"}] * 4)):
        with pytest.raises(ImageError, match=r"row 0, column 'label': .* is not a class"):
            open_source(write(tmp_path / "s.parquet", cells))
    nothing = open_source(write(tmp_path / "n.parquet", pa.nulls(4)))
    assert nothing.classes == []
    assert "nothing but missing labels in column 'label'" in nothing.account.lines()[0]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_lists_name_several_classes_and_lists_of_one_are_plain(ending, tmp_path):
    several = open_source(write(tmp_path / f"x.{ending}", [["cat", "dog"], ["dog"], [], ["owl", "cat"]]))
    by_name = dict(zip(several.names, several.several, strict=True))
    assert several.classes == ["cat", "dog", "owl"]
    assert sorted(by_name.values()) == [[], [0, 1], [1], [2, 0]]
    assert (several.labels == -1).all()
    plain = open_source(write(tmp_path / f"y.{ending}", [[2], [0], [1], [0]]))
    assert plain.several is None
    assert classes_of(plain) == ["2", "0", "1", "0"]
    with pytest.raises(ImageError, match=r"has a label that is missing, and others have lists.*\[\] for an image"):
        open_source(write(tmp_path / f"z.{ending}", [["cat", "dog"], None, ["dog"], ["cat"]]))


def test_a_list_of_classlabels_of_datasets_keeps_its_names(tmp_path):
    feature = {"feature": {"names": ["ape", "bee"], "_type": "ClassLabel"}, "_type": "Sequence"}
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    table = pa.table({"image": [png(0), png(1)], "label": [[0, 1], [1]]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert source.classes == ["ape", "bee"]
    assert sorted(map(sorted, source.several)) == [[0, 1], [1]]


@pytest.mark.parametrize(
    "column",
    ["Label", "CLASS", "class_name", "Class Name", "ClassId", "target", "category", "fine_label", "labels"],
)
def test_usual_names_of_the_label_column_are_found(column, tmp_path):
    for ending in ("csv", "jsonl", "parquet"):
        source = open_source(write(tmp_path / f"x.{ending}", ["a", "b", "a", "b"], column))
        assert source.classes == ["a", "b"], ending
        assert repr(column) in source.account.labels


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_without_one_the_account_names_the_other_columns_and_the_option(ending, tmp_path):
    source = open_source(write(tmp_path / f"x.{ending}", ["a", "b", "a", "b"], "who"))
    assert source.classes == []
    assert "no labels among who: name one by --label-column" in source.account.lines()[0]
    assert open_source(tmp_path / f"x.{ending}", label_column="WHO").classes == ["a", "b"]


def test_of_several_columns_that_could_be_meant_the_account_says_which_was_taken(tmp_path):
    (tmp_path / "x.csv").write_text("path,label,category\n1.png,a,b\n2.png,c,d\n")
    source = open_source(tmp_path / "x.csv")
    assert source.classes == ["a", "c"]
    assert "labels are of column 'label', not of category (--label-column)" in source.account.lines()[0]
    assert source.account.columns == ["category"]
    columns = {"md5": [b"0" * 16, b"1" * 16], "mask": [png(8), png(9)], "image": [png(0), png(1)]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert [image.read() for image in source] == columns["image"]
    assert "pictures are of column 'image', not of md5, mask" in source.account.lines()[0]
    assert next(iter(open_source(tmp_path / "x.parquet", image_column="mask"))).read() == png(8)


def test_a_column_of_other_bytes_is_not_taken_for_pictures(tmp_path):
    pq.write_table(pa.table({"md5": [b"0" * 16], "scan": [png(3)]}), tmp_path / "x.parquet")
    assert next(iter(open_source(tmp_path / "x.parquet"))).read() == png(3)
    pq.write_table(pa.table({"md5": [b"0" * 16], "path": ["a.png"]}), tmp_path / "y.parquet")
    assert open_source(tmp_path / "y.parquet").names == ["a.png"]


def test_a_parquet_of_paths_is_a_list_like_any_other(tmp_path):
    write_files(tmp_path, {f"{i}.png": png(i) for i in range(4)})
    (tmp_path / "tables").mkdir()
    table = {
        "file_name": [f"../{i}.png" for i in range(4)],
        "label": list("abab"),
        "split": ["train"] * 3 + ["val"],
    }
    pq.write_table(pa.table(table), tmp_path / "tables/x.parquet")
    source = open_source(tmp_path / "tables/x.parquet")
    assert [image.read() for image in source] == [png(i) for i in range(4)]
    assert source.splits == {"train": 3, "val": 1}


DIALECTS = {
    "comma and blank": "path, label\n0.png, cat\n1.png, dog\n",
    "semicolon": "path;label\n0.png;cat\n1.png;dog\n",
    "tab": "path\tlabel\n0.png\tcat\n1.png\tdog\n",
    "bar": "path|label\n0.png|cat\n1.png|dog\n",
    "quotes": '"path", "label"\n"0.png", "cat"\n"1.png", "dog"\n',
    "trailing comma": "path,label,\n0.png,cat,\n1.png,dog,\n",
    "trailing comma of rows alone": "path,label\n0.png,cat,\n1.png,dog,\n",
    "an index of pandas": ",path,label\n0,0.png,cat\n1,1.png,dog\n",
    "Windows": "path,label\r\n0.png,cat\r\n1.png,dog\r\n",
    "old Macs": "path,label\r0.png,cat\r1.png,dog\r",
    "blank lines": "path,label\n\n0.png,cat\n,\n1.png,dog\n\n",
    "backslashes": "path,label\nsub\\0.png,cat\nsub\\1.png,dog\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects_of_csv(dialect, encoding, tmp_path):
    (tmp_path / "x.CSV").write_bytes(DIALECTS[dialect].encode(encoding))
    source = open_source(tmp_path / "x.CSV")
    assert source.classes == ["cat", "dog"]
    assert {name.rpartition("/")[2] for name in source.names} == {"0.png", "1.png"}


def test_a_list_of_windows_paths_is_read_here(tmp_path):
    write_files(tmp_path, {"im/cat/0.png": png(0)})
    (tmp_path / "x.csv").write_text("path,label\nim\\cat\\0.png,cat\n")
    assert open_source(tmp_path / "x.csv")[0].read() == png(0)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_lines_end_at_line_feeds_alone(separator, tmp_path):
    (tmp_path / "x.jsonl").write_text(
        "".join(
            json.dumps({"path": f"{i}.png", "label": f"a{separator}b"}, ensure_ascii=False) + "\n" for i in "01"
        ),
        "utf-8",
    )
    assert open_source(tmp_path / "x.jsonl").classes == [f"a{separator}b"]
    (tmp_path / "names.txt").write_text(f"a{separator}b\nc\n", "utf-8")
    assert read_classes(tmp_path / "names.txt") == [f"a{separator}b", "c"]


def test_columns_of_any_json_line_count(tmp_path):
    lines = [{"path": "0.png"}, {"path": "1.png", "label": "cat"}, {"label": "dog", "path": "2.png"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert classes_of(open_source(tmp_path / "x.jsonl")) == [None, "cat", "dog"]
    (tmp_path / "y.jsonl").write_text(json.dumps(lines))
    assert classes_of(open_source(tmp_path / "y.jsonl")) == [None, "cat", "dog"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\n0.png,cat,more\n", "line 2: has 3 cells, and line 1 names 2 columns"),
        ("path,path\n0.png,cat\n", "line 1: names a column twice"),
        ('path,label\n0.png,"cat\n', "is no CSV"),
        ("0.png,cat\n1.png,dog\n", "has no column of pictures, paths or URLs"),
    ],
)
def test_a_csv_that_is_none_is_refused_for_the_right_reason(text, said, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ImageError) as caught:
        open_source(tmp_path / "x.csv")
    assert said in str(caught.value)


def test_splits_in_a_column_and_in_the_name_of_a_file(tmp_path):
    for ending in ("csv", "parquet"):
        frame = pd.DataFrame(
            {"path": [f"{i}.png" for i in range(3)], "label": list("aba"), "Split": ["Train", "VAL", ""]}
        )
        frame.to_csv(tmp_path / "x.csv", index=False) if ending == "csv" else frame.to_parquet(
            tmp_path / "x.parquet"
        )
        assert open_source(tmp_path / f"x.{ending}").splits == {"train": 2, "val": 1}
    held = open_source(write(tmp_path / "my-test.parquet", list("abab")))
    assert held.splits == {"train": 0, "val": 4}
    assert "no image is left to train on: their names say 'test'" in held.account.lines()[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat\n\ndog\n", "line 2: is blank; write a name there"),
        ("cat\ndog\ncat\n", "names 'cat' twice"),
        ("\n\n", "is empty"),
    ],
)
def test_lists_of_class_names_that_would_shift_numbers_are_refused(text, said, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ImageError) as caught:
        read_classes(tmp_path / "names.txt")
    assert said in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_name(encoding, tmp_path):
    (tmp_path / "names.txt").write_bytes("cat\r\ndog\r\n\r\n".encode(encoding))
    assert read_classes(tmp_path / "names.txt") == ["cat", "dog"]


def test_unicode_forms_of_one_name_are_one_class(tmp_path):
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    write_files(tmp_path / "tree", {f"{name}/{i}.png": png(i) for i, name in enumerate([*forms, "owl"])})
    tree = open_source(tmp_path / "tree")
    assert tree.classes == [forms[0], "owl"]
    assert "two Unicode forms" in tree.account.lines()[0]
    source = open_source(write(tmp_path / "x.parquet", [*forms, "owl", "owl"]))
    assert source.classes == [forms[0], "owl"]
    tar = write_tar(tmp_path / "x.tar", {"1.png": png(1), "1.cls": forms[1].encode()})
    (tmp_path / "names.txt").write_text(f"owl\n{forms[1]}\n")
    assert open_source(tar, classes=tmp_path / "names.txt").labels.tolist() == [1]


def test_pandas_reads_the_same_labels_as_missing(tmp_path):
    """An independent reader: whatever pandas takes for missing in a CSV is no class here."""
    words = ["cat", "", "nan", "NaN", "NULL", "null", "None", "N/A", "NA", "<NA>", "#N/A", "none", "n/a"]
    text = io.StringIO()
    csv.writer(text).writerows([["path", "label"], *([f"{i}.png", word] for i, word in enumerate(words))])
    (tmp_path / "x.csv").write_text(text.getvalue())
    read = pd.read_csv(tmp_path / "x.csv")["label"].tolist()
    ours = classes_of(open_source(tmp_path / "x.csv"))
    assert [isinstance(cell, float) and math.isnan(cell) for cell in read] == [label is None for label in ours]


def test_labels_that_are_numbers_written_twice_sort_alike_every_time(tmp_path):
    source = open_source(write(tmp_path / "x.csv", ["7", "007", "07", "1"]))
    assert source.classes == ["1", "007", "07", "7"]
    assert source.labels.dtype == np.int64
