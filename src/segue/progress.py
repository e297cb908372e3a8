"""Progress of long work: a callback that the library calls and the command line draws."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

NOTHING: Mapping[str, float] = MappingProxyType({})


class Progress(Protocol):
    """A callback that receives the progress of long work."""

    def __call__(self, step: str, done: int, total: int, values: Mapping[str, float] = NOTHING, /) -> None:
        """Receive the name of the step, the units done, and the total.

        `values` has results so far by name, such as the loss; only training has any.
        """


def silent(step: str, done: int, total: int, values: Mapping[str, float] = NOTHING, /) -> None:
    """Ignore progress: the default of every `progress` argument."""
