"""Recipes: one file each, with its command, its source in the paper and what it costs; no logic."""

from __future__ import annotations

import importlib
import pkgutil

from seit.errors import RecipeError, nearest_names
from seit.training.recipe import Recipe


def names() -> list[str]:
    """Returns every recipe's name."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Recipe:
    """Returns a recipe by name.

    Raises:
        RecipeError: there is none of that name (near misses named).
    """
    if name not in names():
        raise RecipeError(f"there is no recipe {name!r}", "--recipe", nearest_names(name, names()))
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").recipe()
