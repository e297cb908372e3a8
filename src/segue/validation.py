"""Settings by their names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from segue.errors import SettingError


def named(given: Any, registry: dict[str, Any], what: str) -> Any:
    """Return settings as they are, and for a name those that the registry has, with their defaults."""
    if not isinstance(given, str):
        if type(given) in registry.values():
            return given
        raise SettingError(
            f"{given!r} is no {what}; give one of {', '.join(sorted(registry))} by name or its settings"
        )
    if given.lower() not in registry:
        raise SettingError(f"there is no {what} {given!r}; there are {', '.join(sorted(registry))}")
    return registry[given.lower()]()


def parse_setting(value: Any, registry: dict[str, Any], noun: str, argument: str) -> Any:
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
