"""The indexes: settings with one verb, `build`, and one signature of `search`."""

from typing import Any

from segue.index.auto import Auto, AutoIndex
from segue.index.base import Neighbors
from segue.index.brute_force import BruteForceIndex
from segue.index.exact import Exact, ExactIndex
from segue.index.forest import Forest, ForestIndex
from segue.index.hnsw import HNSW, HNSWIndex
from segue.index.ivf import IVF, IVFIndex
from segue.index.kinds import KINDS
from segue.index.lsh import LSH, LSHIndex

INDEXES: dict[str, Any] = {**KINDS, "auto": Auto}

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
    "LSHIndex",
    "Neighbors",
]  # fmt: skip
