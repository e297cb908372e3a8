"""Names and registry entries that are imported when they are first used, to keep the start quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
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


class LazyRegistry(Mapping[str, T], Generic[T]):
    """A registry that imports the module of an entry when the entry is first used."""

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        """Take entries by name: the module, relative to the package, and the attribute (`ials:SPEC`)."""
        self._places = {name: (f"{package}.{place}").partition(":")[::2] for name, place in places.items()}

    def __getitem__(self, name: str) -> T:
        module, attribute = self._places[name]
        entry: T = getattr(import_module(module), attribute)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def imported(self) -> dict[str, T]:
        """Return the entries whose modules are imported already; an object of a class is in one of them."""
        return {name: self[name] for name, (module, _) in self._places.items() if module in sys.modules}
