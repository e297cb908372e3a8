"""Names and registry entries that are imported when they are first used, to keep the start quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def lazy_names(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package for names that are in its modules.

    Args:
        package: the name of the package.
        modules: the names by module, relative to the package.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:  # Any: the type of a name is that of its definition
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get


class LazyRegistry(MutableMapping[str, T], Generic[T]):
    """A registry that imports the module of an entry when the entry is first used."""

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        """Take entries by name: the module, relative to the package, and the attribute (`ials:SPEC`)."""
        self._places = {name: (f"{package}.{place}").partition(":")[::2] for name, place in places.items()}
        self._entries: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            module, attribute = self._places[name]
            self._entries[name] = getattr(import_module(module), attribute)
        return self._entries[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._places, *self._entries)))

    def __len__(self) -> int:
        return len(self._places.keys() | self._entries.keys())

    def name_of(self, is_entry: Callable[[T], bool]) -> str | None:
        """Return the name of the entry for which a test holds, or None; imports as few modules as it can."""
        imported = [name for name, (module, _) in self._places.items() if module in sys.modules]
        for name in dict.fromkeys((*self._entries, *imported, *self._places)):
            if is_entry(self[name]):
                return name
        return None
