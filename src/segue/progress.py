"""How long work tells how far it is: a callback that the library calls and the command line draws."""

from typing import Protocol


class Progress(Protocol):
    """A function that is told how far work is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note of what is being done, how many steps are done, and how many there are."""


def silent(what: str, done: int, total: int) -> None:
    """Say nothing: the default of every `progress` argument."""
