"""The model folder: atomic, checksummed versions of named arrays, tables and JSON settings."""

from segue.store.folder import check_target, current_version, open_model, prune, verify, versions, write
from segue.store.version import StoredModel

__all__ = [
    "StoredModel", "check_target", "current_version", "open_model", "prune", "verify", "versions", "write",
]  # fmt: skip
