"""Splits and classes come from names alone: a naive rewrite agrees, and pictures never change sides."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seit.errors import ImageError
from seit.images.account import OTHER_SPLIT, UNSORTED, Account
from seit.images.listed import BY_HASH, UNSPLIT, Listed, arrange, held_out
from seit.images.listing import Files
from seit.images.places import Place
from seit.images.splits import BY_FOLDERS, Tree, by_folders

NAMES = st.lists(st.text("abc/XYZ0129é_", min_size=1, max_size=12), min_size=1, max_size=60, unique=True)


def arranged(names, archive=False):
    """Returns the source that a tree of these pictures makes."""
    account, ordered = Account(), sorted(names)
    listed = Listed(names=ordered, places=[Place("file", "", name) for name in ordered])
    tree = Tree.of(ordered, 1 if archive else 2)
    return arrange(by_folders(listed, ordered, tree, "my/tree", account, True, Files()), "my/tree", None, account)


def fraction(name):
    """Where a name's hash lies in [0, 1)."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) / 2**256


@given(NAMES, st.randoms())
def test_the_hash_split_depends_on_the_names_only(names, shuffler):
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    assert held_out(names) == held_out(shuffled) <= set(names)


@given(NAMES)
def test_held_out_names_are_the_lowest_twentieth_of_the_hashes(names):
    by_hash = sorted(names, key=fraction)
    expected = {name for name in names if fraction(name) < 0.05}
    if len(names) == 1:
        assert held_out(names) == set()
    else:
        assert held_out(names) == (expected | {by_hash[0]}) - {by_hash[-1]}


@given(NAMES, st.text("abcxyz/", min_size=1, max_size=12))
def test_a_new_picture_moves_at_most_the_two_at_the_ends(names, extra):
    if extra in names:
        return
    before, after = held_out(names), held_out([*names, extra])
    by_hash = sorted(names, key=fraction)
    assert (before ^ after) - {extra} <= {by_hash[0], by_hash[-1]}


@given(NAMES)
def test_a_class_of_two_or_more_has_images_on_both_sides(names):
    chosen = held_out(names)
    assert len(chosen) >= (len(names) > 1)
    assert len(chosen) < len(names)


def test_known_names_keep_their_side_for_ever():
    """Golden: changing this rule would silently change everybody's splits."""
    names = [f"cat/{number}.jpg" for number in range(60)]
    assert sorted(held_out(names)) == ["cat/13.jpg", "cat/36.jpg", "cat/38.jpg", "cat/53.jpg"]


def test_about_five_percent_are_held_out():
    chosen = held_out([f"n01440764/n01440764_{number}.JPEG" for number in range(20_000)])
    assert 900 < len(chosen) < 1100


def test_class_folders_without_a_split_are_split_by_hash_per_class():
    names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(100)] + ["one/1.jpg"]
    rows = arranged(names)
    assert (rows.split_rule, rows.classes) == (BY_HASH, ["cat", "dog", "one"])
    val = set(rows.names[rows.train :])
    assert val == held_out(names[:100]) | held_out(names[100:200])
    assert "one/1.jpg" in rows.names[: rows.train]


@pytest.mark.parametrize("prefix", ["train/", "wrap/", "wrap/train/", "a/b/Train/"])
def test_folders_above_the_classes_do_not_change_the_hash_split(prefix):
    bare = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(100)]
    plain, below = arranged(bare), arranged([prefix + name for name in bare])
    assert [name.removeprefix(prefix) for name in below.names] == plain.names
    assert below.train == plain.train
    assert below.classes == ["cat", "dog"]
    assert below.split_rule == BY_HASH


@pytest.mark.parametrize("folder", ["val", "valid", "validation", "test", "Test"])
def test_train_and_a_held_out_folder_are_found_by_name(folder):
    names = [f"{split}/{label}/1.jpg" for split in ("train", folder) for label in ("b", "a")]
    rows = arranged(names)
    assert rows.names == ["train/a/1.jpg", "train/b/1.jpg", f"{folder}/a/1.jpg", f"{folder}/b/1.jpg"]
    assert rows.labels.tolist() == [0, 1, 0, 1]
    assert (rows.train, rows.split_rule) == (2, BY_FOLDERS)


def test_val_goes_before_test_and_the_test_folder_is_left_alone():
    rows = arranged([f"{split}/a/1.jpg" for split in ("test", "train", "val")])
    assert rows.names == ["train/a/1.jpg", "val/a/1.jpg"]
    assert rows.account.left_out[OTHER_SPLIT].names == ["test/a/1.jpg"]


def test_a_few_pictures_in_no_class_folder_are_left_out_and_named():
    sorted_in = [f"data/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(4)]
    rows = arranged([*sorted_in, "data/2.jpg", "3.jpg"])
    assert sorted(rows.names) == sorted_in
    assert rows.classes == ["cat", "dog"]
    assert sorted(rows.account.left_out[UNSORTED].names) == ["3.jpg", "data/2.jpg"]
    assert rows.account.total == 10


def test_a_held_out_folder_alone_is_all_held_out():
    rows = arranged(["test/a/1.jpg", "test/b/1.jpg"])
    assert (rows.train, rows.classes, rows.split_rule) == (0, ["a", "b"], BY_FOLDERS)


def test_a_class_may_be_called_train():
    names = [f"{label}/{number}.jpg" for label in ("bus", "train", "test") for number in range(2)]
    rows = arranged(names)
    assert (rows.classes, len(rows.names), rows.split_rule) == (["bus", "test", "train"], 6, BY_HASH)


def test_pictures_in_no_folder_have_no_labels_and_are_not_split():
    rows = arranged(["b.jpg", "a.jpg"])
    assert (rows.names, rows.labels.tolist(), rows.train) == (["a.jpg", "b.jpg"], [-1, -1], 2)
    assert (rows.classes, rows.split_rule) == ([], UNSPLIT)


def test_unlabelled_pictures_may_have_split_folders():
    rows = arranged(["train/1.jpg", "val/2.jpg"])
    assert (rows.labels.tolist(), rows.train, rows.classes, rows.split_rule) == ([-1, -1], 1, [], BY_FOLDERS)


def test_one_folder_is_a_class_in_a_folder_and_a_wrapper_in_an_archive():
    assert arranged(["cat/1.jpg", "cat/2.jpg"]).classes == ["cat"]
    assert arranged(["photos/1.jpg", "photos/2.jpg"], archive=True).classes == []


def test_a_picture_deeper_down_belongs_to_the_first_folder():
    assert arranged(["cat/a/b/1.jpg", "dog/1.jpg"]).classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"], "class dog: images in train but none in val"),
        (["train/cat/1.jpg", "val/dog/1.jpg", "val/cat/1.jpg"], "class dog: images in val but none in train"),
        ([f"train/{c}/1.jpg" for c in "abcde"] + ["val/a/1.jpg"], "class b, c, d and 1 more: images in train"),
        (["cat/1.jpg", "dog/1.jpg", "2.jpg", "3.jpg", "4.jpg"], "3 pictures lie beside class folders, e.g. 2.jpg"),
        (["cat/1.jpg", "cat/2.jpg", "3.jpg"], "1 pictures lie beside class folders, e.g. 3.jpg"),
        (["train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"], "test holds 1 pictures in no class folder"),
        ([], "no images in it"),
    ],
)
def test_trees_that_would_need_a_guess_are_refused(names, said):
    with pytest.raises(ImageError) as caught:
        arranged(names)
    assert str(caught.value).startswith("my/tree: ")
    assert said in str(caught.value)


@given(st.lists(st.sampled_from(["train", "val", "a", "b", "x.jpg", "y.jpg"]), min_size=1, max_size=4), st.data())
def test_any_tree_is_arranged_or_refused(parts, data):
    more = data.draw(st.lists(st.lists(st.sampled_from(["train", "val", "test", "a", "b"]), max_size=3)))
    names = sorted({"/".join([*path, "p.jpg"]) for path in [*more, parts]})
    random.shuffle(names)
    try:
        rows = arranged(names)
    except ImageError:
        return
    assert set(rows.names) <= set(names)
    assert len(rows.names) == len(set(rows.names)) == len(rows.labels)
    assert rows.names == sorted(rows.names[: rows.train]) + sorted(rows.names[rows.train :])
    assert set(rows.labels.tolist()) == (set(range(len(rows.classes))) or {-1})
