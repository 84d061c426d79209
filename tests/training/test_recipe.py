"""Recipes: read, written and changed without loss, and every mistake in one is named."""

import json
from dataclasses import fields, replace
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seit import recipes
from seit.augment import kinds
from seit.augment.centre_crop import CentreCrop
from seit.augment.cutmix import CutMix
from seit.augment.flip import Flip
from seit.augment.noise import Noise
from seit.augment.random_crop import RandomCrop
from seit.augment.resized_crop import ResizedCrop
from seit.errors import RecipeError
from seit.models.stems import stem_of
from seit.models.trunks import trunk_names
from seit.training import Recipe

CHANGES = {
    "epochs": ("12.5", 12.5),
    "batch_size": ("64", 64),
    "learning_rate": ("1e-3", 1e-3),
    "learned": ("True", True),
    "trunk": ("deit_tiny_patch16_224", "deit_tiny_patch16_224"),
    "smoothing": ("1", 1.0),
    "seed": ("-3", -3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_are_read_with_their_type(name):
    text, value = CHANGES[name]
    changed = Recipe().with_settings({name: text})
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed == replace(Recipe(), **{name: value})


WRONG = {
    "epochs": ["three", "true", "[1]", "0", "-1", "nan", "1e999", "", '"3"'],
    "batch_size": ["1.5", "12.0", "0", "true", "many"],
    "learned": ["yes", "1", "0.0"],
    "resized_crop.scale": ["0.5", "[0.5]", "[1, 2, 3]", "[1, true]x", "{}", "[0, 1]"],
    "noise.exact": ["1", "yes"],
    "noise.probability": ["2", "-0.1", "half"],
    "augment": ["nois", "cutmix, nois"],
    "optimizer": ["adamww"],
    "precision": ["float8"],
    "schedule": ["linear"],
    "loss": ["mse"],
    "micro_batch": ["-2", "3", "256"],
    "repeats": ["0", "65"],
    "layer_decay": ["0", "1.1"],
    "ema": ["1", "-0.1"],
    "final_learning_rate": ["-1", "0.1"],
    "input": ["id"],
    "weight_decay": ["-1"],
    "clip": ["-0.1"],
    "drop_path": ["1", "-0.1"],
    "warmup_epochs": ["8", "-1"],
    "learning_rate": ["0"],
    "pixel_size": ["0", "-32"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_wrong_values_are_refused_by_name_with_a_cure(name, text):
    with pytest.raises(RecipeError) as caught:
        Recipe().with_settings({name: text})
    assert name in caught.value.where
    assert caught.value.cure


CONTRADICTIONS = {
    "final_learning_rate": {"final_learning_rate": 1e-5, "schedule": "constant"},
    "learned": {"input": "pixels", "learned": True},
    "micro_batch": {"batch_size": 8, "micro_batch": 10},
    "repeats": {"batch_size": 4, "repeats": 3},
    "warmup_epochs": {"epochs": 1, "warmup_epochs": 1},
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_fields_that_contradict_each_other_are_refused_by_name(name):
    with pytest.raises(RecipeError) as caught:
        Recipe(**CONTRADICTIONS[name])
    assert caught.value.where == name
    assert caught.value.cure


def test_an_unknown_setting_names_its_neighbours():
    with pytest.raises(RecipeError, match=r"no setting 'epoch'; did you mean 'epochs'"):
        Recipe().with_settings({"epoch": "3"})
    with pytest.raises(RecipeError, match=r"no setting 'lerning_rate'; did you mean 'learning_rate'"):
        Recipe.from_json({"lerning_rate": 3})


@pytest.mark.parametrize("names", [("epochs", "warmup_epochs"), ("warmup_epochs", "epochs")])
def test_settings_that_fit_only_together_may_come_in_any_order(names):
    texts = {"epochs": "0.25", "warmup_epochs": "0"}
    recipe = Recipe(epochs=4, warmup_epochs=1).with_settings({name: texts[name] for name in names})
    assert (recipe.epochs, recipe.warmup_epochs) == (0.25, 0)


def test_a_setting_of_an_augmentation_changes_it_or_adds_it():
    recipe = Recipe(augment=(Flip(0.5), RandomCrop(), Noise(0.5)))
    assert recipe.with_settings({"noise.std": "2"}).augment == (Flip(0.5), RandomCrop(), Noise(0.5, std=2.0))
    added = recipe.with_settings({"cutmix.probability": "0.25", "noise.unit": "raw"})
    assert added.augment == (Flip(0.5), RandomCrop(), Noise(0.5, unit="raw"), CutMix(0.25))
    cropped = recipe.with_settings({"resized_crop.scale": "[0.2, 1]"})  # the one crop gives way to the other
    assert cropped.augment == (Flip(0.5), Noise(0.5), ResizedCrop((0.2, 1.0)))


def test_augmentations_are_chosen_by_name_and_keep_the_recipes_settings():
    recipe = Recipe(augment=(Flip(0.25), Noise(0.5)))
    chosen = recipe.with_settings({"flip.probability": "1", "augment": "cutmix, flip,centre_crop"})
    assert chosen.augment == (CutMix(), Flip(1.0), CentreCrop())
    assert recipe.with_settings({"augment": ""}).augment == ()


def test_mistakes_in_an_augmentation_name_its_neighbours():
    with pytest.raises(RecipeError, match=r"--set noise\.sdt: there is no setting 'sdt'; did you mean 'std'"):
        Recipe().with_settings({"noise.sdt": "1"})
    with pytest.raises(RecipeError, match=r"--set nois\.std: there is no augmentation 'nois'; .*'noise'"):
        Recipe().with_settings({"nois.std": "1"})
    with pytest.raises(RecipeError, match=r"--set flip: flip is an augmentation; set flip\.probability"):
        Recipe().with_settings({"flip": "1"})
    with pytest.raises(RecipeError, match=r"recipe noise: there is no setting 'sdt'; did you mean 'std'"):
        Recipe.from_json({"augment": [{"name": "noise", "sdt": 1}]})


@pytest.mark.parametrize("name", kinds())
def test_every_augmentation_becomes_json_and_back_in_a_recipe(name):
    recipe = Recipe(augment=(kinds()[name](),))
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


PLAIN = {float: st.floats(0.001, 0.4), int: st.integers(1, 99), bool: st.booleans()}
BOUND = ("epochs", "warmup_epochs", "learning_rate", "final_learning_rate", "micro_batch", "repeats", "batch_size")
CHOSEN = {
    field.name: PLAIN[get_type_hints(Recipe)[field.name]]
    for field in fields(Recipe)
    if get_type_hints(Recipe)[field.name] in PLAIN and field.name not in BOUND
}


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({}, optional=CHOSEN))
def test_json_and_settings_give_the_recipe_back(values):
    recipe = Recipe(**values)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert Recipe().with_settings({name: json.dumps(value) for name, value in values.items()}) == recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_loads_and_says_what_it_is(name):
    recipe = recipes.load(name)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.trunk in trunk_names()
    if recipe.stem != "auto":
        stem_of(recipe.stem)
    module = __import__(f"seit.recipes.{name.replace('-', '_')}", fromlist=["recipe"])
    assert "seit train" in module.__doc__
    assert recipe == module.recipe()


def test_an_unknown_recipe_names_its_neighbours_and_all():
    with pytest.raises(RecipeError) as caught:
        recipes.load("mini-pixel")
    assert "did you mean 'mini-pixels'" in caught.value.cure
    assert all(name in caught.value.cure for name in recipes.names())
