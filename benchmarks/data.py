"""The data sets that the benchmarks share, as `Interactions`, from a folder beside the checkout."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions, from_csr

DATA = Path(os.environ.get("SEGUE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def load_split(name: str) -> tuple[Interactions, Interactions]:
    """Read train and test of a data set kept as lines of `user item item …` (gowalla, amazon-book)."""
    parts = [_pairs(DATA / name / f"{part}.txt.gz") for part in ("train", "test")]
    users, items = (1 + max(int(part[axis].max()) for part in parts) for axis in (0, 1))
    matrices = (sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), (users, items)) for pairs in parts)
    train, test = map(from_csr, matrices)
    return train, test


def _pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    users, items = [], []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            user, *liked = map(int, line.split())
            users += [user] * len(liked)
            items += liked
    return np.array(users), np.array(items)
