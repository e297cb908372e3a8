"""The model folder: versions of named arrays, tables and settings, each written whole or not at all."""

from segue.store.folder import current_version, open_model, prune, verify, write
from segue.store.version import Stored

__all__ = ["Stored", "current_version", "open_model", "prune", "verify", "write"]
