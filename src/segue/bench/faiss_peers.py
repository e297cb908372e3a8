"""Indexes of faiss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segue.bench.peer import CONSTRUCTION, Peer, Sweep, exact_sweep, leaf_count, prepare
from segue.index.effort import geometric
from segue.index.timing import Search


def faiss(
    name: str,
    recipe: Callable[[int, int], str],
    sweeps: Callable[[int, int], list[Sweep]],
    is_graph: bool = False,
) -> Peer:
    """Return a faiss index by the recipe (n, dim) of its factory; settings are parameters by name."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        import faiss

        faiss.omp_set_num_threads(threads)
        items = np.ascontiguousarray(prepare(items, metric))
        if path and path.exists():
            index = faiss.read_index(str(path))
        else:
            kind = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
            index = faiss.index_factory(items.shape[1], recipe(*items.shape), kind)
            if is_graph:
                index.hnsw.efConstruction = CONSTRUCTION
            index.train(items)
            index.add(items)
            if path:
                faiss.write_index(index, str(path))
        parameters = faiss.ParameterSpace()

        def search(queries: np.ndarray, k: int, setting: dict[str, int] | None) -> np.ndarray:
            faiss.omp_set_num_threads(threads)
            for parameter, value in (setting or {}).items():
                parameters.set_index_parameter(index, parameter, value)
            return np.asarray(index.search(queries, k)[1])

        return search

    return Peer(f"faiss {name}", "faiss", build, sweeps, name == "flat", is_graph)


def faiss_hnsw(m: int) -> Peer:
    """Return HNSW on float32."""

    def sweeps(n: int, k: int) -> list[Sweep]:
        return [[{"efSearch": ef} for ef in geometric(k, max(1024, 16 * k))]]

    return faiss(f"HNSW{m}", lambda n, dim: f"HNSW{m},Flat", sweeps, is_graph=True)


def faiss_ivf(factor: float) -> Peer:
    """Return float32 vectors in `factor` √n partitions."""

    def sweeps(n: int, k: int) -> list[Sweep]:
        return [[{"nprobe": probes} for probes in geometric(1, leaf_count(n, factor))]]

    return faiss(f"IVF {factor:g}√n", lambda n, dim: f"IVF{leaf_count(n, factor)},Flat", sweeps)


def faiss_fast_scan(factor: float) -> Peer:
    """Return 4-bit product quantization in `factor` √n partitions (0: none), reranked.

    A code stands for two dimensions.
    """

    def recipe(n: int, dim: int) -> str:
        coarse = f"IVF{leaf_count(n, factor)}," if factor else ""
        return f"{coarse}PQ{-(-dim // 2) if dim % 2 == 0 else dim}x4fs,RFlat"

    def sweeps(n: int, k: int) -> list[Sweep]:
        most = min(64, n // k)
        if not factor:
            return [[{"k_factor_rf": depth} for depth in geometric(1, most)]]
        probes = geometric(1, leaf_count(n, factor))
        return [
            [{"nprobe": count, "k_factor_rf": depth} for count in probes]
            for depth in (2, 4, 10, 30)
            if depth <= most
        ]

    return faiss(f"{f'IVF {factor:g}√n ' if factor else ''}PQ fast-scan", recipe, sweeps)


FLAT = faiss("flat", lambda n, dim: "Flat", exact_sweep)
