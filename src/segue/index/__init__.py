"""The indexes: settings with one verb, `build`, and one signature of `search`."""

from typing import Any

from segue.index.exact import Exact, ExactIndex
from segue.index.hnsw import HNSW, HNSWIndex
from segue.index.measured import MeasuredIndex
from segue.index.neighbors import Neighbors

# "auto" is what is best for the vectors of a recommender: exact search.
INDEXES: dict[str, Any] = {"exact": Exact, "auto": Exact, "hnsw": HNSW}

__all__ = ["HNSW", "INDEXES", "Exact", "ExactIndex", "HNSWIndex", "MeasuredIndex", "Neighbors"]
