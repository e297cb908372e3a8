"""The exceptions of segue. Any other exception that leaves the package is a bug."""

from __future__ import annotations


class SegueError(Exception):
    """Base class of all exceptions of segue. The message says what is wrong and what to do.

    Attributes:
        arguments: names of the Python arguments that the message mentions as `name=` or `name=value`;
            the command line replaces them with the names of its options.
    """

    def __init__(self, message: str = "", *, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.arguments = arguments


class DataError(SegueError, ValueError):
    """Invalid interactions, features, vectors or files."""


class SettingError(SegueError, ValueError):
    """An invalid setting or argument."""


class UnknownIdError(SegueError, LookupError):
    """The model does not know a user or an item."""


class MissingExtraError(SegueError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class EncoderError(SegueError):
    """A text encoder cannot be reached, or its answer is invalid."""


class ModelFolderError(SegueError):
    """A model folder cannot be read or written."""


class NotAModelError(ModelFolderError):
    """The folder is missing, or is not a model folder."""


class NewerFormatError(ModelFolderError):
    """A later release wrote the model folder, in a format that this one cannot read: upgrade segue."""


class OlderFormatError(ModelFolderError):
    """An earlier release wrote the model folder, in a format that this one cannot read: fit again."""


class CorruptModelError(ModelFolderError):
    """A file of the model is missing, truncated or damaged."""
