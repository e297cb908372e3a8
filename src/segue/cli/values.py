"""What is typed into options: lists of ids, settings, depths, times."""

from __future__ import annotations

import csv
import re
from dataclasses import fields, replace
from typing import Any

from segue.errors import SettingError
from segue.models import MODELS
from segue.models.spaces import check_tunable
from segue.recommender.fitting import Recommender

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def ids_of(text: str) -> list[str]:
    """Ids from a text with commas between them; those that hold commas stand in double quotes."""
    parts = next(csv.reader([text], skipinitialspace=True), [])
    return [part.strip() for part in parts if part.strip()]


def depths_of(text: str) -> list[int]:
    """Depths from a text such as 5,10,20."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingError(f"-k {text} must be whole numbers separated by commas, such as 5,10,20") from error


def seconds_of(text: str) -> float:
    """A time such as 90s, 10m, 1h30m or 600."""
    parts = DURATION.fullmatch(text.replace(" ", ""))
    if parts is None or not any(map(_positive, parts.groups())):
        raise SettingError(f"--time-budget {text} must be a time, such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def _positive(part: str | None) -> bool:
    return part is not None and float(part) > 0


def model_settings(name: str, options: dict[str, Any], given: list[str]) -> Any:
    """The settings of a model by its name, with those of the command line filled in."""
    settings = Recommender(name).model
    kinds = {field.name: str(field.type) for field in fields(settings)}
    values = {key: value for key, value in options.items() if value is not None}
    for pair in given:
        key, given_value, text = pair.partition("=")
        if not given_value:
            raise SettingError(f"--set {pair} must be NAME=VALUE, such as --set iterations=8")
        values[key] = _value(key, text, kinds)
    for key in values:
        if key not in kinds:
            raise SettingError(f"{name} has no setting {key!r}; it has {', '.join(kinds) or 'none'}")
    return replace(settings, **values)


def fixed_settings(models: list[str], given: list[str]) -> dict[str, Any]:
    """The settings that tuning leaves alone, in the kinds that the models want."""
    for name in models:
        check_tunable(name)
    kinds = {field.name: str(field.type) for name in models for field in fields(MODELS[name])}
    fixed: dict[str, Any] = {}
    for pair in given:
        key, given_value, text = pair.partition("=")
        if not given_value:
            raise SettingError(f"--set {pair} must be NAME=VALUE, such as --set dim=64")
        fixed[key] = _value(key, text, kinds)
    return fixed


def _value(key: str, text: str, kinds: dict[str, str]) -> Any:
    kind, _, optional = kinds.get(key, "str").partition(" | ")
    if optional and text.lower() == "none":
        return None
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError as error:
        wanted = "a whole number" if kind == "int" else "a number"
        raise SettingError(f"--set {key}={text} must be {wanted}{' or none' * bool(optional)}") from error
