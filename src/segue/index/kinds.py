"""The indexes that a choice is made of, by their names."""

from __future__ import annotations

from typing import Any

from segue.index.exact import Exact
from segue.index.forest import Forest
from segue.index.hnsw import HNSW
from segue.index.ivf import IVF
from segue.index.lsh import LSH

KINDS: dict[str, Any] = {"exact": Exact, "forest": Forest, "hnsw": HNSW, "ivf": IVF, "lsh": LSH}
