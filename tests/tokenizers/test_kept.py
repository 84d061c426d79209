"""New images within the codes that a data set keeps: both ways, for every family's own nearness."""

from __future__ import annotations

import pytest
import torch
from test_load import KINDS, tiny

from seit.errors import TokenizerError
from seit.tokenizers.kept import nearest_kept, within


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_keep_within_the_codes_and_agree_where_nothing_is_missing(kind: str) -> None:
    tokenizer, images = tiny(kind), torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    identity = tokenizer.identity()
    with torch.inference_mode():
        full, features = tokenizer.encode(images), tokenizer.features(images)
        kept = full.unique().flip(0)[::2]
        there = torch.isin(full, kept)
        for way in ("search", "nearest"):
            assert torch.equal(within(tokenizer, full.unique(), way)(features), full)
            found = within(tokenizer, kept, way)(features)
            assert torch.isin(found, kept).all()
            assert torch.equal(found[there], full[there])
        assert not there.all()
    assert tokenizer.identity() == identity


def test_searching_within_finds_the_best_kept_code_and_mapping_the_one_nearest_to_the_best() -> None:
    tokenizer, images = tiny("euclidean"), torch.rand(1, 3, 64, 64)
    kept = torch.tensor([3, 17, 5])
    with torch.inference_mode():
        features = tokenizer.features(images)
        z = features[0].flatten(1).T.double()
        table = tokenizer.codebook.double()
        searched = kept[((z[:, None] - table[kept]) ** 2).sum(2).argmin(1)]
        full = ((z[:, None] - table) ** 2).sum(2).argmin(1)
        mapped = kept[((table[full][:, None] - table[kept]) ** 2).sum(2).argmin(1)]
        assert torch.equal(within(tokenizer, kept, "search")(features).flatten(), searched)
        assert torch.equal(within(tokenizer, kept, "nearest")(features).flatten(), mapped)


def test_near_is_by_angle_where_codes_are_directions() -> None:
    for kind, wanted in (("vit", [0, 1, 1]), ("euclidean", [0, 1, 0])):
        tokenizer = tiny(kind)
        table = torch.zeros(3, 6)
        table[0, 0], table[1, 1], table[2, 1] = (
            0.1,
            9.0,
            0.5,
        )  # the third points as the second, and lies at the first
        tokenizer.codebook = table
        assert nearest_kept(tokenizer, torch.tensor([0, 1])).tolist() == wanted


def test_equal_codes_that_are_both_kept_stay_what_they_are() -> None:
    tokenizer = tiny("euclidean")
    tokenizer.codebook[7] = tokenizer.codebook[2]
    assert nearest_kept(tokenizer, torch.tensor([2, 7]))[[2, 7]].tolist() == [0, 1]


def test_codes_that_are_none_are_refused() -> None:
    with pytest.raises(TokenizerError, match=r"known: .*nearest"):
        within(tiny("conv"), torch.tensor([1]), "nearst")
    for codes in ([], [24], [-1]):
        with pytest.raises(TokenizerError, match="codes of its 24"):
            within(tiny("conv"), torch.tensor(codes, dtype=torch.int64))
