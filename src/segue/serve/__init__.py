"""The HTTP service: a model folder behind HTTP, and user events that update profiles."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue.serve.client import Client, ServiceError

__all__ = ["Client", "ServiceError"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'segue.serve' has no attribute {name!r}")
    from segue.serve import client

    return getattr(client, name)
