"""The registry of indexes: settings classes by name, each imported when it is first used."""

from __future__ import annotations

from segue.index.base import IndexSettings
from segue.lazy import LazyRegistry

INDEXES: LazyRegistry[type[IndexSettings]] = LazyRegistry(
    "segue.index",
    {
        "auto": "auto:Auto",
        "exact": "exact:Exact",
        "forest": "forest:Forest",
        "hnsw": "hnsw:HNSW",
        "ivf": "ivf:IVF",
        "lsh": "lsh:LSH",
    },
)


def concrete_indexes() -> list[str]:
    """Return the names of all indexes but "auto", which builds one of the others."""
    return [name for name in INDEXES if name != "auto"]
