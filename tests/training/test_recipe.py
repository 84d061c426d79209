"""Recipes: read, written and changed without loss, and every mistake in one is named."""

import json
from dataclasses import fields, replace
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seit import recipes
from seit.errors import RecipeError
from seit.models.stems import stem_of
from seit.models.trunks import trunk_names
from seit.training import Recipe

CHANGES = {
    "epochs": ("12.5", 12.5),
    "batch_size": ("64", 64),
    "learning_rate": ("1e-3", 1e-3),
    "learned": ("True", True),
    "released": ("false", False),
    "trunk": ("deit_tiny_patch16_224", "deit_tiny_patch16_224"),
    "scale": ("[0.2, 1]", (0.2, 1.0)),
    "cutmix": ("1", 1.0),
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
    "scale": ["0.5", "[0.5]", "[1, 2, 3]", "[1, true]x", "{}"],
    "optimizer": ["adamww"],
    "precision": ["float16"],
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


def test_an_unknown_setting_names_its_neighbours():
    with pytest.raises(RecipeError, match=r"no setting 'epoch'; did you mean 'epochs'"):
        Recipe().with_settings({"epoch": "3"})
    with pytest.raises(RecipeError, match=r"no setting 'lerning_rate'; did you mean 'learning_rate'"):
        Recipe.from_json({"lerning_rate": 3})


PLAIN = {float: st.floats(0.001, 0.4), int: st.integers(1, 99), bool: st.booleans()}
CHOSEN = {
    field.name: PLAIN[get_type_hints(Recipe)[field.name]]
    for field in fields(Recipe)
    if get_type_hints(Recipe)[field.name] in PLAIN and field.name not in ("epochs", "warmup_epochs")
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
