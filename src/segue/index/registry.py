"""The registry of indexes: settings classes by name.

`segue.index.auto` adds "auto" when it is imported, because it chooses among the others.
"""

from __future__ import annotations

from segue.index.base import IndexSettings
from segue.index.exact import Exact
from segue.index.forest import Forest
from segue.index.hnsw import HNSW
from segue.index.ivf import IVF
from segue.index.lsh import LSH

INDEXES: dict[str, type[IndexSettings]] = {
    "exact": Exact,
    "forest": Forest,
    "hnsw": HNSW,
    "ivf": IVF,
    "lsh": LSH,
}


def concrete_indexes() -> list[str]:
    """Return the names of all indexes but "auto", which builds one of the others."""
    return [name for name in INDEXES if name != "auto"]
