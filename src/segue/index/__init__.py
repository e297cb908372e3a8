"""Exact and approximate nearest-neighbor search: settings with `build`, and indexes with `search`."""

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
]  # fmt: skip
