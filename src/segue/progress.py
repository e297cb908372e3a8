"""How long work tells how far it is: a callback that the library calls and the command line draws."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

NOTHING: Mapping[str, float] = MappingProxyType({})


class Progress(Protocol):
    """A function that is told how far work is."""

    def __call__(self, what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        """Take note of what is being done, how many steps are done, and how many there are.

        `values` is what the last step found, by name, such as its loss; only training has any.
        """


def silent(what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
    """Say nothing: the default of every `progress` argument."""
