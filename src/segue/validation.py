"""Settings by their names."""

from __future__ import annotations

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
