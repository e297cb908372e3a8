"""Errors that are also of the types which programs written for Annoy catch."""

from segue.errors import DataError, SegueError


class StateError(SegueError):
    """Something that a loaded or a built index cannot do; Annoy raises a plain Exception."""


class UnsavableError(StateError, OSError):
    """An index that cannot be put into a file now."""


class IndexFileError(SegueError, OSError):
    """A file that is not an index of this metric and this many dimensions, or is cut or damaged."""


class ItemError(DataError, IndexError):
    """An item that the index does not have, or a vector of another length."""
