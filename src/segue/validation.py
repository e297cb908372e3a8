"""Checks that settings share, and settings by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from segue.errors import SettingError
from segue.lazy import LazyRegistry

Registry: TypeAlias = Mapping[str, Any]  # settings classes of any kind by name


def at_least(settings: object, **bounds: float) -> None:
    """Raise `SettingError` for each field that is not a finite number of at least its bound.

    An integer bound requires an integer.
    """
    for name, bound in bounds.items():
        value = getattr(settings, name)
        integer = isinstance(bound, int)
        if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
            number = "a whole number" if integer else "a number"
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be {number} of at least {bound}",
                arguments=(name,),
            )
        if not bound <= value < float("inf"):
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be at least {bound}", arguments=(name,)
            )


def one_of(settings: object, **choices: Collection[str]) -> None:
    """Raise `SettingError` for each field that is not one of its choices."""
    for name, allowed in choices.items():
        value = getattr(settings, name)
        if value not in allowed:
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be one of {', '.join(map(repr, allowed))}",
                arguments=(name,),
            )


def named(given: Any, registry: Registry, what: str) -> Any:
    """Return settings as they are, and for a name those that the registry has, with their defaults."""
    if not isinstance(given, str):
        if _is_entry(type(given), registry):
            return given
        raise SettingError(
            f"{given!r} is no {what}; give one of {', '.join(sorted(registry))} by name or its settings"
        )
    if given.lower() not in registry:
        raise SettingError(f"there is no {what} {given!r}; there are {', '.join(sorted(registry))}")
    return registry[given.lower()]()


def _is_entry(kind: type, registry: Registry) -> bool:
    if isinstance(registry, LazyRegistry):
        return registry.name_of(lambda entry: entry is kind) is not None
    return kind in registry.values()


def parse_setting(value: Any, registry: Registry, noun: str, argument: str) -> Any:
    """Return settings for a name, for `NAME:NUMBER` (the number sets the first field), or as they are.

    None stays None. Raises `SettingError` for a name that the registry lacks and a value that is no number.
    """
    if value is None or not isinstance(value, str):
        return None if value is None else named(value, registry, noun)
    name, colon, text = value.partition(":")
    if name.lower() not in registry:
        raise SettingError(f"there is no {noun} {name[:64]!r}; choose one of {', '.join(sorted(registry))}")
    settings_class = registry[name.lower()]
    if not colon:
        return settings_class()
    knob = fields(settings_class)[0]
    try:
        number = int(text) if isinstance(knob.default, int) else float(text)
    except ValueError as error:
        raise SettingError(
            f"{argument}={value[:64]!r} must be NAME or NAME:NUMBER, such as {name}:{knob.default}",
            arguments=(argument,),
        ) from error
    return settings_class(**{knob.name: number})
