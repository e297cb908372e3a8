"""Model settings from the command line: --set NAME=VALUE and the options with names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from segue.errors import SettingError
from segue.models import MODELS, check_tunable
from segue.recommender.fitting import Recommender

Value = str | int | float | None


def model_settings(name: str, options: Mapping[str, Value], assignments: list[str]) -> Any:
    """Return the settings of a model with the values of the options that are not None.

    Args:
        name: the name of the model.
        options: values by setting.
        assignments: texts of --set, each NAME=VALUE.
    """
    settings = Recommender(name).model
    types = {field.name: str(field.type) for field in fields(settings)}
    values: dict[str, Value] = {key: value for key, value in options.items() if value is not None}
    values |= _parse_assignments(assignments, types, "iterations=8")
    for key in values:
        if key not in types:
            raise SettingError(f"{name} has no setting {key!r}; it has {', '.join(types) or 'none'}")
    return replace(settings, **values)


def fixed_settings(models: list[str], assignments: list[str]) -> dict[str, Value]:
    """Return the settings that tuning keeps fixed, in the types that the models declare."""
    for name in models:
        check_tunable(name)
    types = {field.name: str(field.type) for name in models for field in fields(MODELS[name].settings)}
    return _parse_assignments(assignments, types, "dim=64")


def _parse_assignments(assignments: list[str], types: dict[str, str], example: str) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign:
            raise SettingError(f"--set {assignment} must be NAME=VALUE, such as --set {example}")
        values[key] = _parse_value(key, text, types.get(key, "str"))
    return values


def _parse_value(key: str, text: str, declared: str) -> Value:
    type_name, _, optional = declared.partition(" | ")
    if optional and text.lower() == "none":
        return None
    try:
        return int(text) if type_name == "int" else float(text) if type_name == "float" else text
    except ValueError as error:
        expected = "a whole number" if type_name == "int" else "a number"
        raise SettingError(f"--set {key}={text} must be {expected}{' or none' * bool(optional)}") from error
