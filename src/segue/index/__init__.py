"""The indexes: settings with one verb, `build`, and one signature of `search`."""

from typing import Any

from segue.index.auto import Auto, AutoIndex
from segue.index.exact import Exact, ExactIndex
from segue.index.forest import Forest, ForestIndex
from segue.index.hnsw import HNSW, HNSWIndex
from segue.index.ivf import IVF, IVFIndex
from segue.index.kinds import KINDS
from segue.index.lsh import LSH, LSHIndex
from segue.index.measured import MeasuredIndex
from segue.index.neighbors import Neighbors

INDEXES: dict[str, Any] = {**KINDS, "auto": Auto}

__all__ = [
    "HNSW", "INDEXES", "IVF", "LSH", "Auto", "AutoIndex", "Exact", "ExactIndex", "Forest", "ForestIndex",
    "HNSWIndex", "IVFIndex", "LSHIndex", "MeasuredIndex", "Neighbors",
]  # fmt: skip
