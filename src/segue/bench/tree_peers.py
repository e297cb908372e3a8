"""Libraries that search trees: scann, annoy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segue.bench.peer import METRICS, Peer, Sweep, leaf_count, prepare
from segue.index.effort import geometric
from segue.index.timing import Search

if TYPE_CHECKING:
    from scann.scann_ops.py.scann_ops_pybind import ScannSearcher

if TYPE_CHECKING:
    pass


def scann(leaves: float, soar: bool = False) -> Peer:
    """Return Google's tree of `leaves` √n leaves (0: none) with asymmetric hashing, reranked in float32."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        from scann import scann_ops_pybind

        if path and path.exists():
            searcher = scann_ops_pybind.load_searcher(str(path))
        else:
            searcher = _scann(np.ascontiguousarray(prepare(items, metric)), metric, threads, leaves, soar)
            if path:
                path.mkdir()
                searcher.serialize(str(path))
        searcher.set_num_threads(threads)

        def search(queries: np.ndarray, k: int, setting: tuple[int, int]) -> np.ndarray:
            leaves_searched, depth = setting
            return np.asarray(searcher.search_batched_parallel(queries, k, depth, leaves_searched or None)[0])

        return search

    def sweeps(n: int, k: int) -> list[Sweep]:
        if not leaves:
            return [[(0, depth) for depth in geometric(k, min(n, 64 * k))]]
        most = max(2, leaf_count(n, leaves) // 2)
        return [[(visited, times * k) for visited in geometric(1, most)] for times in (2, 4, 10, 30)]

    kind = f"tree {leaves:g}√n{' SOAR' if soar else ''} " if leaves else ""
    metrics = ("dot", "cosine") if soar else METRICS
    return Peer(f"scann {kind}AH", "scann", build, sweeps, metrics=metrics)


def _scann(items: np.ndarray, metric: str, threads: int, leaves: float, soar: bool) -> ScannSearcher:
    from scann import scann_ops_pybind

    distance, anisotropy = ("squared_l2", float("nan")) if metric == "euclidean" else ("dot_product", 0.2)
    builder = scann_ops_pybind.builder(items, 10, distance).set_n_training_threads(threads)
    sample = min(len(items), 250_000)
    if leaves:
        extra = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if soar else {}
        count = leaf_count(len(items), leaves)
        builder = builder.tree(count, 10, sample, max(1, len(items) // count // 10), **extra)
    return builder.score_ah(2, anisotropy, sample).reorder(100).build()


def annoy(trees: int) -> Peer:
    """Return Spotify's forest, queried from several Python threads, since it releases the GIL."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        from annoy import AnnoyIndex

        name = {"dot": "dot", "cosine": "angular", "euclidean": "euclidean"}[metric]
        index = AnnoyIndex(items.shape[1], name)
        if path and path.exists():
            index.load(str(path))
        else:
            for number, vector in enumerate(items):
                index.add_item(number, vector)
            index.set_seed(0)
            index.build(trees, threads)
            if path:
                index.save(str(path))
        pool = ThreadPoolExecutor(threads)

        def search(queries: np.ndarray, k: int, setting: int) -> np.ndarray:
            neighbors = np.full((len(queries), k), -1, np.int32)

            def search_part(first: int) -> None:
                for row in range(first, len(queries), threads):
                    ids = index.get_nns_by_vector(queries[row], k, setting)
                    neighbors[row, : len(ids)] = ids

            if len(queries) == 1:
                search_part(0)
            else:
                list(pool.map(search_part, range(threads)))
            return neighbors

        return search

    def sweeps(n: int, k: int) -> list[Sweep]:
        return [[*geometric(min(n, 10 * k), n)]]

    return Peer(f"annoy {trees}", "annoy", build, sweeps)
