"""The table of mirrored ids, where it can be known beforehand."""

from __future__ import annotations

import json

import by_rule
import numpy as np
import pytest
import torch
from colours import colours

from seit.images import decode, open_source, to_view
from seit.tokenizers import bundled, load, mirror
from seit.tokenizers.kept import reduced
from seit.tokenizers.mirror import BUNDLED, mirror_table


def test_a_cell_of_one_colour_mirrors_to_itself() -> None:
    used = torch.arange(0, 4096, 7)
    ids = np.random.default_rng(0).integers(0, len(used), (20, 8, 8)).astype(np.uint16)
    tokenizer = colours()
    before = tokenizer.identity()
    assert mirror_table(tokenizer, ids, used).tolist() == list(range(len(used)))
    assert tokenizer.identity() == before


def test_a_code_that_does_not_occur_maps_to_itself() -> None:
    used = torch.tensor([5, 4000, 17])
    assert mirror_table(colours(), np.zeros((1, 4, 4), np.uint16), used).tolist() == [0, 1, 2]


def test_every_family_is_searched_by_its_own_rule(tmp_path) -> None:
    for name in ("toy-vitvq", "toy-gumbel"):
        golden, path = by_rule.original_file(name, tmp_path)
        tokenizer = load(path)
        image = by_rule.image(golden["seedword"], 0, 64, 64)
        with torch.inference_mode():
            ids = tokenizer.encode(image)
            used, stored = ids.unique(return_inverse=True)
            again = tokenizer.keep(used).encode(tokenizer.decode(stored).flip(-1))
        counts = torch.zeros(len(used), len(used), dtype=torch.int64)
        counts.index_put_((stored.flip(-1).flatten(), again.flatten()), torch.tensor(1), accumulate=True)
        table = mirror_table(load(path), stored.numpy(), used)
        assert table.tolist() == counts.argmax(1).tolist()


@pytest.mark.parametrize(("name", "size", "pictures"), [("patch4", 32, "sample"), ("patch8", 256, "photos")])
def test_a_bundled_table_is_right_about_most_cells_of_held_out_pictures_and_takes_no_encoding(
    name, size, pictures, monkeypatch
):
    tokenizer, source = load(name), open_source(pictures)
    chosen = list(source.split("val"))[:300] or [0, 1]  # counted on training pictures, and on crops of the photos
    wanted = {"size": size, "resize": "squash", "interpolation": "bicubic"}
    views = np.stack([to_view(decode(source[i].read(), source[i].name), wanted) for i in chosen])
    with torch.inference_mode():
        codes = tokenizer.encode(torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255)
        after = tokenizer.encode(tokenizer.decode(codes).flip(-1))
    monkeypatch.setattr(tokenizer, "encode", None)  # the start of a training must not wait for the network
    table = mirror_table(tokenizer, codes.numpy(), torch.arange(tokenizer.vocabulary))
    unmoved = (codes.flip(-1) == after).float().mean()
    right = (table[codes.flip(-1)] == after).float().mean()
    assert right > 0.7
    assert right > unmoved + 0.2


def test_every_bundled_tokenizer_has_its_table():
    assert {load(name).identity() for name in bundled()} == json.loads(BUNDLED.read_text()).keys()


def test_a_bundled_table_within_fewer_codes_maps_to_the_nearest_of_those():
    tokenizer = load("patch4")
    whole = json.loads(BUNDLED.read_text())[tokenizer.identity()]
    used = torch.arange(3, 512, 5)
    table = mirror_table(tokenizer, np.zeros((1, 8, 8), np.uint16), used)
    vectors = tokenizer.codebook
    for position, code in enumerate(used.tolist()):
        distance = (vectors[used].double() - vectors[whole[code]].double()).square().sum(1)
        assert distance[table[position]] == pytest.approx(float(distance.min()), rel=1e-5, abs=1e-9)


def test_a_table_that_took_long_to_count_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "_WORTH_KEEPING_SECONDS", 0.0)
    tokenizer, used = colours(), torch.arange(0, 4096, 7)
    ids = np.random.default_rng(0).integers(0, len(used), (20, 8, 8)).astype(np.uint16)
    counted = mirror_table(tokenizer, ids, used)
    (file,) = (tmp_path / "cache" / "seit").iterdir()
    monkeypatch.setattr(mirror, "count_mirrored", None)
    assert torch.equal(mirror_table(colours(), ids, used), counted)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file.write_bytes(file.read_bytes()[:-9])  # damaged: counted again
    assert torch.equal(mirror_table(tokenizer, ids, used), counted)
    other = mirror.count_mirrored(reduced(tokenizer, used), ids[:1])
    assert torch.equal(mirror_table(tokenizer, ids[:1], used), other)  # other ids never get the kept table


def test_without_a_cache_folder_the_table_is_counted_every_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(mirror, "_WORTH_KEEPING_SECONDS", 0.0)
    used = torch.tensor([5, 4000, 17])
    assert mirror_table(colours(), np.zeros((1, 4, 4), np.uint16), used).tolist() == [0, 1, 2]
