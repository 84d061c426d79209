"""Reads a frozen dataclass's fields, by their types: from JSON values (a recipe's file) or from text (`--set`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_type_hints

from seit.errors import RecipeError, nearest_names

Settings = TypeVar("Settings")
_EXAMPLES = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def from_values(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Returns the dataclass `kind` with these fields, given as JSON values; the others have their defaults.

    Raises:
        RecipeError: there is no such field (near misses named), or a value has another type.
    """
    return kind(**{name: field_value(kind, name, value, where) for name, value in values.items()})


def from_text(kind: type, name: str, text: str, where: str) -> Any:
    """Returns the value of field `name` of the dataclass `kind` that `text` stands for: JSON, or text as it is.

    Raises:
        RecipeError: there is no such field (near misses named), or the text means another type.
    """
    hint = _hint(kind, name, where)
    if hint is str:
        return text
    try:
        value = json.loads(text.lower())
    except ValueError:
        raise _wrong(text, hint, where) from None
    return field_value(kind, name, value, where)


def field_value(kind: type, name: str, value: Any, where: str) -> Any:
    """Returns a JSON value as field `name` of the dataclass `kind` takes it.

    Raises:
        RecipeError: there is no such field (near misses named), or the value has another type.
    """
    hint = _hint(kind, name, where)
    try:
        return _converted(value, hint)
    except TypeError:
        raise _wrong(value, hint, where) from None


def _hint(kind: type, name: str, where: str) -> Any:
    known = [field.name for field in fields(kind)]
    if name not in known:
        raise RecipeError(f"there is no setting {name!r}", where, nearest_names(name, known))
    return get_type_hints(kind)[name]


def _converted(value: Any, hint: Any) -> Any:
    """Returns a JSON value as the type `hint`; raises TypeError if it is of another."""
    if hint is float and type(value) is int:
        return float(value)
    if parts := get_args(hint):
        if not isinstance(value, list | tuple) or len(value) != len(parts):
            raise TypeError
        return tuple(_converted(one, part) for one, part in zip(value, parts, strict=True))
    if type(value) is not hint:
        raise TypeError
    return value


def _wrong(value: Any, hint: Any, where: str) -> RecipeError:
    parts = get_args(hint)
    example = f"a list of {len(parts)} such as [0.08, 1.0]" if parts else _EXAMPLES[hint]
    return RecipeError(f"{value!r} is not {example}", where, f"give {example}")
