"""Exact and approximate nearest-neighbor search: settings with `build`, and indexes with `search`."""

from typing import TYPE_CHECKING

from segue.lazy import lazy_names

if TYPE_CHECKING:
    from segue.index.auto import Auto, AutoIndex
    from segue.index.base import Index, IndexSettings, Neighbors
    from segue.index.brute_force import BruteForceIndex
    from segue.index.exact import Exact, ExactIndex
    from segue.index.forest import Forest, ForestIndex
    from segue.index.hnsw import HNSW, HNSWIndex
    from segue.index.ivf import IVF, IVFIndex
    from segue.index.lsh import LSH, LSHIndex
    from segue.index.registry import INDEXES

__all__ = [
    "HNSW",
    "INDEXES",
    "IVF",
    "LSH",
    "Auto",
    "AutoIndex",
    "BruteForceIndex",
    "Exact",
    "ExactIndex",
    "Forest",
    "ForestIndex",
    "HNSWIndex",
    "IVFIndex",
    "Index",
    "IndexSettings",
    "LSHIndex",
    "Neighbors",
]

__getattr__ = lazy_names(
    "segue.index",
    {
        "auto": (
            "Auto",
            "AutoIndex",
        ),
        "base": (
            "Index",
            "IndexSettings",
            "Neighbors",
        ),
        "brute_force": ("BruteForceIndex",),
        "exact": (
            "Exact",
            "ExactIndex",
        ),
        "forest": (
            "Forest",
            "ForestIndex",
        ),
        "hnsw": (
            "HNSW",
            "HNSWIndex",
        ),
        "ivf": (
            "IVF",
            "IVFIndex",
        ),
        "lsh": (
            "LSH",
            "LSHIndex",
        ),
        "registry": ("INDEXES",),
    },
)
