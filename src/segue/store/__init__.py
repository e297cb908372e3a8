"""The model folder: versions of named arrays, tables and settings, each written whole or not at all."""

from segue.store.folder import check_target, current_version, open_model, prune, verify, versions, write
from segue.store.version import Stored

__all__ = ["Stored", "check_target", "current_version", "open_model", "prune", "verify", "versions", "write"]
