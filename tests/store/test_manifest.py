import contextlib
import json
import tracemalloc

import numpy as np
import pytest
import stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seit.errors import StoreError
from seit.store import TokenDataset, manifest
from seit.store.codebook import from_ranges, to_ranges


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path, _, _ = stores.make(tmp_path_factory.mktemp("manifest") / "out")
    return (path / "manifest.json").read_bytes()


def sealed(value):
    """The bytes of a manifest with this content and a right digest."""
    value = {key: value[key] for key in value if key != "digest"} | {"digest": "0" * 64}
    data = (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
    return data.replace(b"0" * 64 + b'"\n}', manifest._digest(data).encode() + b'"\n}')


def test_a_manifest_survives_reading_and_writing(good):
    assert manifest.to_bytes(manifest.from_bytes(good, "here")) == good
    assert sealed(json.loads(good)) == good


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
@pytest.mark.parametrize("path", [("shards", 0, "data", "file"), ("codecs", 0, "file"), ("codebook", "file")])
def test_names_that_could_lead_outside_the_folder_are_refused(good, name, path):
    value = json.loads(good)
    change(value, path, name)
    with pytest.raises(StoreError, match="is not a bare file name"):
        manifest.from_bytes(sealed(value), "here")


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("grid",), [70_000, 70_000], "not an integer in 1..65536"),
        (("grid",), [1000, 1000], "has more than 65536 cells"),
        (("grid",), [8], r"grid is not \[h, w\]"),
        (("grid",), [8, True], "not an integer"),
        (("grid",), [8, 8.0], "not an integer"),
        (("full_vocabulary",), 1 << 30, "full_vocabulary is '1073741824', not an integer in 1..262144"),
        (("full_vocabulary",), 3, "used_codes are not ranges within 0..2"),
        (("used_codes",), "0-999999999999", "used_codes are not ranges"),
        (("used_codes",), "0-3,2", "a code occurs twice"),
        (("used_codes",), "0;3", "used_codes are not ranges"),
        (("vocabulary",), 5, "vocabulary and used_codes disagree"),
        (("views",), 0, "views is '0'"),
        (("views",), 7, "a shard cuts an image"),
        (("labels",), "image", "labels is 'image', not one of class, multi"),
        (("entropy",), "high", "entropy"),
        (("classes",), "cat", "classes is no list"),
        (("shards", 0, "rows"), 1 << 40, "rows of a shard"),
        (("shards", 0, "rows"), -1, "rows of a shard"),
        (("shards", 0, "codec"), 1, "codec of a shard is '1', not an integer in 0..0"),
        (("shards", 0, "data", "bytes"), 1 << 31, "bytes of shard"),
        (("shards", 0, "split"), "../up", "is not a bare file name"),
        (("shards", 1, "data", "file"), "codec.bin", "two entries name the same file"),
        (("codecs", 0, "rows_per_block"), 1 << 20, "rows_per_block"),
        (("tokenizer",), [], "tokenizer is not an object"),
        (("format",), "other", "its format is not 'seit-tokens'"),
        (("version",), 2, "has format version 2; this seit reads version 1; update seit"),
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


def test_an_edit_by_hand_is_refused_until_sealed(tmp_path):
    path, _, _ = stores.make(tmp_path / "out")
    file = path / "manifest.json"
    file.write_text(file.read_text().replace('"cat"', '"kitten"'))
    with pytest.raises(StoreError, match=r"edited by hand.*seal"):
        TokenDataset(path)
    manifest.seal(file)
    assert TokenDataset(path).classes == ["kitten", "dog"]


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
