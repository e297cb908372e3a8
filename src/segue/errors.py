"""What segue raises when the input or the world is wrong; anything else that escapes is a bug."""


class SegueError(Exception):
    """The base of every error that segue raises on purpose; its message says what to do."""


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
