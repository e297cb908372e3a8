"""Forest beside Annoy: time against recall, a batch on two threads and one query at a time.

python benchmarks/forest.py --folder KEPT

GloVe's 390,000 × 50 by cosine, Fashion-MNIST's 60,000 × 784 by euclidean distance. Annoy answers the batch
from as many Python threads as segue has; it lets go of the GIL. Indexes are kept in the folder, so that a
second run only measures. Times are medians of turns that alternate.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import annoy
from segue.bench.truth import Truth
from segue.index import Forest
from vectors import Vectors, glove, keep

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
K, TURNS, ALONE = 10, 3, 100
GOALS = (0.9, 0.95, 0.99)
EFFORTS = {
    "glove": ([3000, 5000, 8000, 12_000, 20_000, 30_000], [5000, 8000, 13_000, 20_000, 32_000, 50_000]),
    "fashion": ([150, 250, 400, 700, 1200, 2500], [400, 800, 1600, 3200, 6400, 12_800]),
}

Search = Callable[[np.ndarray, int], np.ndarray]


def images(name: str) -> np.ndarray:
    """Fashion-MNIST's images as rows of 784 numbers."""
    with gzip.open(FASHION / f"{name}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32)


def data(part: str, asked: int) -> tuple[Vectors, str, str]:
    """Vectors, their metric, and Annoy's name of it."""
    if part == "glove":
        return glove(asked), "cosine", "angular"
    return Vectors(images("train"), images("t10k")[:asked]), "euclidean", "euclidean"


def ours(part: str, vectors: Vectors, metric: str, trees: int, folder: Path) -> tuple[Search, float]:
    """Forest, and the seconds that it took to build."""
    settings, path, took = Forest(trees=trees, metric=metric), folder / f"{part}.{trees}", 0.0
    if not path.exists():
        begun = time.perf_counter()
        index = settings.build(vectors.items)
        took = time.perf_counter() - begun
        path.mkdir()
        for array, values in index.arrays().items():
            np.save(path / array, values)
    index = settings.from_arrays({file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")})
    return lambda queries, effort: index.search(queries, K, effort=effort).ids, took


def theirs(part: str, vectors: Vectors, metric: Any, trees: int, folder: Path) -> tuple[Search, float]:
    """Annoy, and the seconds that it took to build."""
    index, path, took = annoy.AnnoyIndex(vectors.items.shape[1], metric), folder / f"{part}.{trees}.ann", 0.0
    if not path.exists():
        for i, vector in enumerate(vectors.items):
            index.add_item(i, vector)
        begun = time.perf_counter()
        index.build(trees)
        took = time.perf_counter() - begun
        index.save(str(path))
    index.load(str(path))
    workers = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(workers)

    def search(queries: np.ndarray, effort: int) -> np.ndarray:
        found = np.full((len(queries), K), -1, np.int32)

        def some(first: int) -> None:
            for q in range(first, len(queries), workers):
                ids = index.get_nns_by_vector(queries[q], K, effort)
                found[q, : len(ids)] = ids

        if len(queries) == 1:
            some(0)
        else:
            list(pool.map(some, range(workers)))
        return found

    return search, took


def microseconds(search: Search, queries: np.ndarray, effort: int, alone: bool) -> float:
    begun = time.perf_counter()
    if alone:
        for q in range(len(queries)):
            search(queries[q : q + 1], effort)
    else:
        search(queries, effort)
    return (time.perf_counter() - begun) / len(queries) * 1e6


def recall_of(ids: np.ndarray, vectors: Vectors, metric: str, truth: Truth, kth: np.ndarray) -> float:
    """The share that is no farther than the k-th best, distances by differences in float64."""
    if metric != "euclidean":
        return truth.recall(ids, kth)
    lengths = np.einsum("ij,ij->i", vectors.queries, vectors.queries, dtype=np.float64)
    right = 0
    for row, query, limit in zip(
        ids, vectors.queries.astype(np.float64), lengths - 2 * kth.ravel(), strict=True
    ):
        apart = ((vectors.items[row] - query) ** 2).sum(1)
        right += int((apart <= limit * (1 + 1e-9)).sum())
    return right / ids.size


def at(goal: float, rows: list[dict[str, Any]], name: str) -> float:
    """The time at a recall, between two measured ones; NaN beyond them."""
    recalls = [row["recall"] for row in rows]
    if not recalls[0] <= goal <= recalls[-1]:
        return float("nan")
    return float(np.exp(np.interp(goal, recalls, np.log([row[name] for row in rows]))))


def measure(part: str, trees: int, asked: int, folder: Path) -> dict[str, Any]:
    vectors, metric, name = data(part, asked)
    truth = Truth(vectors.items, vectors.queries, metric)
    (kth,) = keep(folder, f"{part}.{asked}.truth", lambda: truth.kth((K,), 2))
    makers = {
        "segue": ours(part, vectors, metric, trees, folder),
        "annoy": theirs(part, vectors, name, trees, folder),
    }
    table: dict[str, list[dict[str, Any]]] = {maker: [] for maker in makers}
    makers["segue"][0](vectors.queries[:2], 1000)
    for efforts in zip(*EFFORTS[part], strict=True):
        times: dict[tuple[str, bool], list[float]] = {}
        for _ in range(TURNS):
            for (maker, (search, _took)), effort in zip(makers.items(), efforts, strict=True):
                for alone in (False, True):
                    queries = vectors.queries[:ALONE] if alone else vectors.queries
                    times.setdefault((maker, alone), []).append(microseconds(search, queries, effort, alone))
        for (maker, (search, _took)), effort in zip(makers.items(), efforts, strict=True):
            batch, single = (float(np.median(times[maker, one])) for one in (False, True))
            recall = recall_of(search(vectors.queries, effort), vectors, metric, truth, kth)
            table[maker].append(
                {"effort": effort, "recall": round(recall, 4), "batch": batch, "alone": single}
            )
            told = f"recall {recall:.4f}  batch {batch:7.1f} us  alone {single:7.1f} us"
            print(f"{part:8} {maker:6} {effort:6} {told}", flush=True)
    ratios = {
        f"{goal} {name}": round(at(goal, table["annoy"], name) / at(goal, table["segue"], name), 2)
        for goal in GOALS
        for name in ("batch", "alone")
    }
    print(f"{part}: Annoy's time by segue's, at a recall: {ratios}")
    built = {maker: round(took, 1) for maker, (_, took) in makers.items()}
    return {"part": part, "trees": trees, "built": built, "table": table, "ratios": ratios}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", default=["glove", "fashion"], choices=["glove", "fashion"])
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    found = [measure(part, given.trees, given.queries, given.folder) for part in given.part]
    print(json.dumps(found))
