"""How long work tells how far it is: a callback that the library calls and the command line draws."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how many steps are done, and how many there are."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def silent(what: str, done: int, total: int) -> None:
    """Say nothing: the default of every `progress` argument."""
