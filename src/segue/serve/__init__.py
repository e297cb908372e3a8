"""The service: a model folder behind HTTP, with events that move profiles."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.serve.client import Client, ServiceError

__all__ = ["Client", "ServiceError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'segue.serve' has no attribute {name!r}")
    from segue.serve import client

    return getattr(client, name)
