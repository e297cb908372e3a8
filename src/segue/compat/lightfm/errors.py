"""Errors that are also of the types which programs written for LightFM catch."""

from segue.errors import DataError, SettingError


class ParameterError(SettingError, AssertionError):
    """A parameter of the model outside what it may be; LightFM asserts these."""


class UnsupportedError(SettingError, NotImplementedError):
    """A combination of settings that no loss is made for."""


class AbsentError(DataError, OSError):
    """A data set that is not there, and is not to be downloaded."""
