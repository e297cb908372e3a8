"""The exceptions that segue raises on purpose; any other exception that escapes is a bug."""

from __future__ import annotations


class SegueError(Exception):
    """Base class of all exceptions raised on purpose. The message says what to do.

    Attributes:
        arguments: names of the Python arguments that the message mentions as `name=` or `name=value`;
            the command line replaces them with the names of its options.
    """

    def __init__(self, message: str = "", *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.arguments = arguments


class DataError(SegueError, ValueError):
    """Interactions, features or vectors that cannot be used as they are."""


class SettingError(SegueError, ValueError):
    """A setting or an argument outside what it may be."""


class UnknownIdError(SegueError, LookupError):
    """A user or an item that the model has never seen."""


class MissingExtraError(SegueError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class EncoderError(SegueError):
    """What turns texts into vectors cannot be reached, or does not answer as it should."""


class ModelFolderError(SegueError):
    """A model folder that cannot be read or written."""


class NotAModelError(ModelFolderError):
    """The folder is missing, or is not a model folder."""


class NewerFormatError(ModelFolderError):
    """The folder was written by a later release, in a format that this one does not know."""


class CorruptModelError(ModelFolderError):
    """A file of the model is missing, cut, or holds other bytes than were written."""
