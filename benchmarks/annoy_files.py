"""Annoy's own files and answers, for the tests; and whether Annoy answers alike from ours.

python benchmarks/annoy_files.py            compare both ways, at several sizes
python benchmarks/annoy_files.py --keep     write tests/annoy_files/*.ann and answers.json anew
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import annoy
import numpy as np

from segue.compat.annoy import AnnoyIndex

METRICS = ["angular", "euclidean", "manhattan", "hamming", "dot"]
KEPT = Path(__file__).resolve().parents[1] / "tests" / "annoy_files"
SEARCHES = [(1, -1), (10, -1), (10, 200), (100, 100_000)]
SIZES = [(1, 3), (3, 3), (100, 10), (1000, 1), (3000, 40), (3000, 13), (2000, 64), (500, 100)]


def drawn(metric: str, count: int, dim: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return (values > 0).astype(np.float32) if metric == "hamming" else values


def built(made: Any, vectors: np.ndarray, trees: int, **options: int) -> Any:
    for i, vector in enumerate(vectors):
        made.add_item(i, vector)
    made.build(trees, **options)
    return made


def answers(index: Any, queries: np.ndarray) -> list[list[Any]]:
    return [
        [*index.get_nns_by_vector(query.tolist(), n, search_k, True)]
        for query in queries
        for n, search_k in SEARCHES
    ]


def keep() -> None:
    """Small files with holes among the items, and what Annoy answers from them."""
    KEPT.mkdir(exist_ok=True)
    told: dict[str, Any] = {}
    metric: Any
    for metric in METRICS:
        f = 70 if metric == "hamming" else 11
        vectors, queries = drawn(metric, 90, f, 1), drawn(metric, 6, f, 2)
        made = annoy.AnnoyIndex(f, metric)
        for i, vector in enumerate(vectors):
            made.add_item(i + i // 10, vector)
        made.build(4, n_jobs=1)
        made.save(str(KEPT / f"{metric}.ann"))
        told[metric] = {
            "f": f, "items": made.get_n_items(), "trees": made.get_n_trees(), "queries": queries.tolist(),
            "searches": SEARCHES, "answers": answers(made, queries),
            "by_item": made.get_nns_by_item(40, 10, 60, True),
            "vector": made.get_item_vector(40), "distance": made.get_distance(3, 40),
        }  # fmt: skip
    (KEPT / "answers.json").write_text(json.dumps(told))


def compare(folder: Path) -> None:
    """Print, for files of each maker, how many of the answers of both are the same to the last bit."""
    maker: Any
    metric: Any
    for metric, (n, f), maker in itertools.product(METRICS, SIZES, (annoy.AnnoyIndex, AnnoyIndex)):
        vectors, queries = drawn(metric, n, f, 3), drawn(metric, 30, f, 4)
        path = str(folder / "both.ann")
        built(maker(f, metric), vectors, 10, n_jobs=1).save(path)
        theirs, ours = annoy.AnnoyIndex(f, metric), AnnoyIndex(f, metric)
        theirs.load(path)
        ours.load(path)
        pairs = list(zip(answers(theirs, queries), answers(ours, queries), strict=True))
        same = sum(a[0] == b[0] for a, b in pairs)
        bits = sum(a == b for a, b in pairs)
        off = max(
            (np.abs(np.subtract(a[1], b[1])).max(initial=0) for a, b in pairs if a[0] == b[0]), default=0
        )
        alike = f"order {same}/{len(pairs)}  bits {bits}/{len(pairs)}  off {off:.1e}"
        print(f"{metric:10} {n:5} x {f:3} by {maker.__module__:24} {alike}  trees {ours.get_n_trees()}")
        assert ours.get_n_items() == theirs.get_n_items()
        assert ours.get_n_trees() == theirs.get_n_trees()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    if parser.parse_args().keep:
        keep()
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder))
