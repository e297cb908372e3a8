"""The public data sets of the benchmarks; benchmarks/README.md says where each comes from."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions, from_csr

DATA = Path(os.environ.get("SEGUE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SOURCES = {
    "ml-latest-small": "https://grouplens.org/datasets/movielens/latest/, ml-latest-small.zip",
    "gowalla": "https://github.com/gusye1234/LightGCN-PyTorch, data/gowalla",
    "amazon-book": "https://github.com/xiangwang1223/knowledge_graph_attention_network, Data/amazon-book",
    "wikipedia-movies": "https://github.com/prust/wikipedia-movie-data",
}


def find_data(name: str, file: str = "") -> Path:
    """Return the path of a data set or of one of its files; exit with directions if it is missing."""
    path = DATA / name / file
    if not path.exists():
        raise SystemExit(
            f"there is no {path}: get the data set {name} from {SOURCES[name]}, prepare it as "
            f"benchmarks/README.md says, and put it into {DATA / name}, or set SEGUE_DATA to the folder "
            f"that holds {name}"
        )
    return path


def load_split(name: str) -> tuple[Interactions, Interactions]:
    """Read train and test of a data set with lines of `user item item …` (gowalla, amazon-book)."""
    parts = [_pairs(find_data(name, f"{part}.txt.gz")) for part in ("train", "test")]
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
