"""Read, check, split and simulate interactions of users with items."""

from typing import TYPE_CHECKING

from segue.lazy import lazy_names

if TYPE_CHECKING:
    from segue.data.features import Features
    from segue.data.ids import IdMap
    from segue.data.interactions import Interactions
    from segue.data.simulation import simulate
    from segue.data.sources import read_interactions

__all__ = ["Features", "IdMap", "Interactions", "read_interactions", "simulate"]

__getattr__ = lazy_names(
    "segue.data",
    {
        "features": ("Features",),
        "ids": ("IdMap",),
        "interactions": ("Interactions",),
        "simulation": ("simulate",),
        "sources": ("read_interactions",),
    },
)
