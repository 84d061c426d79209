import contextlib
import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seit.errors import StoreError
from seit.store import TokenDataset, manifest
from seit.store.codebook import from_ranges, to_ranges
from seit.store.entries import MAX_SHARDS
from seit.store.verify import verify


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path, _, _ = stores.make(tmp_path_factory.mktemp("manifest") / "out")
    return (path / "manifest.json").read_bytes()


def sealed(value, **options):
    """The bytes of a manifest with this content and a right digest."""
    value = {key: value[key] for key in value if key != "digest"}
    text = json.dumps(value, ensure_ascii=False, **options)
    zeroed = (text.rstrip()[:-1] + ',"digest":"' + "0" * 64 + '"}').encode()
    return zeroed[:-66] + hashlib.sha256(zeroed).hexdigest().encode() + b'"}'


def test_a_manifest_survives_reading_and_writing(good):
    assert manifest.to_bytes(manifest.from_bytes(good, "here")) == good
    assert manifest.to_bytes(manifest.from_bytes(sealed(json.loads(good)), "here")) == good


def test_any_flipped_bit_is_noticed(good):
    for place in range(len(good)):
        data = bytearray(good)
        data[place] ^= 1 << (place % 8)
        with pytest.raises(StoreError):
            manifest.from_bytes(bytes(data), "here")


def change(value, path, to):
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = to


@pytest.mark.parametrize(
    "name",
    [
        "../x.arrow",
        "/etc/passwd",
        "a/b",
        "..",
        ".hidden",
        "",
        "http://x/y",
        "x\x00",
        "x\n",
        "a" * 200,
        5,
        "manifest.json",
    ],
)
@pytest.mark.parametrize(
    "path", [("shards", 0, "data", "file"), ("shards", 1, "side", "file"), ("codebook", "file")]
)
def test_names_that_could_lead_outside_the_folder_are_refused(good, name, path):
    value = json.loads(good)
    change(value, path, name)
    with pytest.raises(StoreError, match="is not a bare file name"):
        manifest.from_bytes(sealed(value), "here")


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("shape",), [70_000, 70_000], "not an integer in 1..65536"),
        (("shape",), [1000, 1000], "has more than 65536 cells"),
        (("shape",), [2, 2, 2, 2], r"shape is not a list of at most 3"),
        (("shape",), [], r"shape has no axis"),
        (("shape",), [8, True], "not an integer"),
        (("shape",), [8, 8.0], "not an integer"),
        (("shape",), [8, 4], "code_counts add up to 3328, not to all ids"),
        (("full_vocabulary",), 1 << 30, "full_vocabulary is '1073741824', not an integer in 1..262144"),
        (("full_vocabulary",), 3, "used_codes are not ranges within 0..2"),
        (("used_codes",), "0-999999999999", "used_codes are not ranges"),
        (("used_codes",), "0-3,2", "a code occurs twice"),
        (("used_codes",), "0;3", "used_codes are not ranges"),
        (("vocabulary",), 5, "vocabulary and used_codes disagree"),
        (("views",), 0, "views is '0'"),
        (("views",), 7, "a shard cuts an image"),
        (("labels",), "image", "labels is 'image', not one of class, multi"),
        (("code_counts",), [1], "code_counts is not a list of"),
        (("class_counts",), {"train": [1]}, "class_counts of train is not a list of 2 counts"),
        (("class_counts",), {}, "class_counts are not of the splits that have labels"),
        (("classes",), "cat", "classes is not a list"),
        (("classes",), ["cat", "cat"], "the class 'cat' occurs twice"),
        (("generation",), 0, "generation is '0'"),
        (("must_understand",), ["planes"], "needs planes, which this seit does not know; update seit"),
        (("shards", 0, "rows"), 1 << 40, "rows of a shard"),
        (("shards", 0, "rows"), -1, "rows of a shard"),
        (("shards", 0, "codec"), 1, "codec of a shard is '1', not an integer in 0..0"),
        (("shards", 0, "data", "bytes"), 1 << 31, "bytes of shard"),
        (("shards", 0, "split"), "a\nb", "is not a name for a split"),
        (("shards", 0, "split"), " ", "is not a name for a split"),
        (("shards", 0, "data", "sha256"), "../victim/x", "sha256 of shard is '../victim/x', not 64 lower-case hex"),
        (("shards", 0, "side", "sha256"), "A" * 64, "not 64 lower-case hex"),
        (("codecs", 0, "sha256"), None, "not 64 lower-case hex"),
        (("codecs", 0, "rows_per_block"), 1 << 20, "rows_per_block"),
        (("tokenizer",), [], r"tokenizer is '\[\]', not an object"),
        (("tokenizer", "name"), None, "tokenizer.name is 'None', not a text"),
        (("tokenizer", "identity"), 5, "tokenizer.identity is '5', not a text"),
        (("tokenizer", "preprocessing"), None, "tokenizer.preprocessing is 'None', not an object"),
        (("source", "terms"), 7, "source.terms is '7', not a text"),
        (("created", "versions"), 7, "created.versions is '7', not an object"),
        (("metadata",), [], "metadata is"),
        (("format",), "other", "its format is not 'seit-tokens'"),
        (("version",), 2, "has format version 2; this seit reads version 1; update seit"),
        (("version",), True, "has format version True; this seit reads version 1; update seit"),
    ],
)
def test_hostile_fields_are_refused_by_name(good, path, to, message):
    value = json.loads(good)
    change(value, path, to)
    with pytest.raises(StoreError, match=message):
        manifest.from_bytes(sealed(value), "here")


def test_a_hostile_manifest_allocates_little(good):
    value = json.loads(good)
    value["used_codes"] = "0-" + "9" * 400
    tracemalloc.start()
    with pytest.raises(StoreError):
        manifest.from_bytes(sealed(value), "here")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>", "is not JSON \\(HTML\\)"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer, not the file itself; run git lfs pull",
        ),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "its format is not"),
        (b"null", "its format is not"),
        (b"\xff\xfe", "is not JSON"),
    ],
)
def test_what_is_no_manifest_is_called_what_it_is(data, message):
    with pytest.raises(StoreError, match=message):
        manifest.from_bytes(data, "here")


def test_an_edit_by_hand_is_refused(tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    file = path / "manifest.json"
    file.write_text(file.read_text().replace('"cat"', '"kitten"'))
    with pytest.raises(StoreError, match=r"edited by hand.*seit edit"):
        TokenDataset(path)


def test_two_entries_of_one_file_are_refused(good):
    value = json.loads(good)
    value["shards"][1]["data"]["file"] = value["codebook"]["file"]
    with pytest.raises(StoreError, match="two entries name the same file"):
        manifest.from_bytes(sealed(value), "here")


@pytest.mark.parametrize("options", [{}, {"indent": 4}, {"separators": (",", ":")}, {"indent": "\t"}])
def test_any_json_white_space_is_right(good, options):
    value = json.loads(good)
    assert manifest.to_bytes(manifest.from_bytes(sealed(value, **options), "here")) == good
    data = sealed(value, **options)
    spaced = data[: data.rindex(b'"digest"')] + b'\r\n"digest" \t:\n "' + b"0" * 64 + b'" \n}\n\n'
    digest = hashlib.sha256(spaced).hexdigest().encode()
    assert manifest.from_bytes(spaced.replace(b"0" * 64 + b'" \n}', digest + b'" \n}'), "here")


def test_fields_that_a_reader_does_not_know_are_kept_at_every_place(good):
    value = json.loads(good)
    value["colour"] = {"space": "sRGB"}
    value["shards"][0]["tier"] = "cold"
    value["shards"][0]["data"]["md5"] = "x"
    value["codecs"][0]["fitted"] = 2026
    value["codebook"]["note"] = [1, 2]
    again = json.loads(manifest.to_bytes(manifest.from_bytes(sealed(value), "here")))
    del value["digest"], again["digest"]
    assert again == value


@pytest.mark.parametrize("text", ["0" * 64, 'a "digest": "' + "0" * 64 + '" b'])
def test_text_that_looks_like_the_digest_changes_nothing(tmp_path, text):
    path, _, _ = stores.make(tmp_path / "out", source=stores.SOURCE | {"terms": text}, metadata={"digest": text})
    data = TokenDataset(path)
    assert data.manifest.source["terms"] == data.manifest.metadata["digest"] == text


@pytest.mark.parametrize(
    "options",
    [
        {"classes": ("cat", "x" * 4097)},
        {"classes": ("cat", "cat")},
        {"classes": ("cat", "\ud800")},
        {"source": stores.SOURCE | {"terms": 5}},
        {"metadata": {"share": float("nan")}},
        {"metadata": {"path": Path("x")}},
        {"tokenizer": {"name": "toy"}},
        {"grid": (300, 300)},
        {"grid": (2, 2, 2, 2)},
        {"views": 2000},
        {"vocabulary": (1 << 18) + 1, "codebook": None},
    ],
)
def test_what_no_reader_would_open_is_refused_before_anything_is_written(tmp_path, options):
    with pytest.raises(StoreError):
        stores.writer(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["", " ", "a\nb", "a\x00", "x" * 65, "a\u2028b", None])
def test_a_split_without_a_printable_name_is_refused(tmp_path, split):
    w = stores.writer(tmp_path / "out")
    with pytest.raises(StoreError, match="is not a name for a split"):
        w.write(0, split, stores.random_ids(4), np.zeros(4, np.int64), stores.table(4))


@pytest.mark.parametrize("split", ["my split", "data (1)", "../up", "trän", "a/b", "manifest.json", "x" * 64, "."])
def test_a_split_may_have_any_printable_name(tmp_path, split):
    w = stores.writer(tmp_path / "out")
    w.write(0, split, stores.random_ids(4), np.zeros(4, np.int64), stores.table(4))
    w.write(1, "my-split", stores.random_ids(4), np.zeros(4, np.int64), stores.table(4))
    path = w.commit()
    assert len(TokenDataset(path, split)) == 4
    assert verify(path, decode=True) == []
    assert all(file.is_file() for file in path.iterdir())


def test_a_manifest_of_as_many_shards_as_the_format_allows_opens(good):
    value = json.loads(good)
    entry = value["shards"][0] | {"rows": 0, "split": "\u00e4" * 64, "payload_bytes": (1 << 31) - 1}
    more = []
    for number in range(MAX_SHARDS - len(value["shards"])):
        files = {
            kind: {"file": f"{'n' * 100}-{kind}-{number:06d}.arrow", "bytes": (1 << 31) - 1, "sha256": "f" * 64}
            for kind in ("data", "side")
        }
        more.append(entry | files)
    value["shards"] += more
    value["class_counts"]["\u00e4" * 64] = [0, 0]
    opened = manifest.from_bytes(sealed(value), "here")
    assert len(opened.shards) == MAX_SHARDS
    assert manifest.from_bytes(manifest.to_bytes(opened), "here").rows == opened.rows


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(JUNK, st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_field_is_refused_or_read(good, junk, data):
    value = json.loads(good)
    value[data.draw(st.sampled_from(sorted(value)))] = junk
    with contextlib.suppress(StoreError):
        manifest.from_bytes(sealed(value), "here")


@given(st.lists(st.integers(0, 5000), unique=True, max_size=60))
def test_ranges_spell_any_list_of_codes(codes):
    array = np.array(codes, np.int32)
    assert from_ranges(to_ranges(array), 5001).tolist() == codes
