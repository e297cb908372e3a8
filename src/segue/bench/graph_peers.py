"""Libraries that search graphs: hnswlib, voyager, usearch, svs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segue.bench.peer import CONSTRUCTION, Peer, graph_sweep, prepare
from segue.index.timing import Search


def hnswlib(m: int) -> Peer:
    """Return the reference implementation of HNSW (Malkov and Yashunin)."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        import hnswlib

        items = prepare(items, metric)
        index = hnswlib.Index("l2" if metric == "euclidean" else "ip", items.shape[1])
        if path and path.exists():
            index.load_index(str(path))
        else:
            index.init_index(len(items), M=m, ef_construction=CONSTRUCTION, random_seed=0)
            index.add_items(items, num_threads=threads)
        index.set_num_threads(threads)
        if path and not path.exists():
            index.save_index(str(path))

        def search(queries: np.ndarray, k: int, setting: int) -> np.ndarray:
            index.set_ef(setting)
            return np.asarray(index.knn_query(queries, k)[0])

        return search

    return Peer(f"hnswlib M{m}", "hnswlib", build, graph_sweep, is_graph=True)


def voyager(m: int) -> Peer:
    """Return Spotify's HNSW, which lifts vectors for inner product itself."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        from voyager import Index, Space

        if path and path.exists():
            index = Index.load(str(path))
        else:
            space = {"dot": Space.InnerProduct, "cosine": Space.Cosine, "euclidean": Space.Euclidean}[metric]
            index = Index(space, items.shape[1], m, CONSTRUCTION, max_elements=len(items))
            index.add_items(items, num_threads=threads)
            if path:
                index.save(str(path))

        def search(queries: np.ndarray, k: int, setting: int) -> np.ndarray:
            return np.asarray(index.query(queries, k, threads, setting)[0])

        return search

    return Peer(f"voyager M{m}", "voyager", build, graph_sweep)


def usearch(m: int, dtype: str) -> Peer:
    """Return the HNSW of usearch, in float32 or in 16 bits, its default."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        from usearch.index import Index

        items = prepare(items, metric)
        index = Index(
            ndim=items.shape[1], metric="l2sq" if metric == "euclidean" else "ip", dtype=dtype,
            connectivity=m, expansion_add=CONSTRUCTION,
        )  # fmt: skip
        if path and path.exists():
            index.load(str(path))
        else:
            index.add(np.arange(len(items), dtype=np.uint64), items, threads=threads)
        if path and not path.exists():
            index.save(str(path))

        def search(queries: np.ndarray, k: int, setting: int) -> np.ndarray:
            index.expansion_search = setting
            return np.asarray(index.search(queries, k, threads=threads).keys).astype(np.int64)

        return search

    return Peer(f"usearch M{m} {dtype}", "usearch", build, graph_sweep, is_graph=True)


def svs(degree: int) -> Peer:
    """Return Intel's Vamana on float32. Its LVQ aborts on processors of other vendors."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        import svs

        items = np.ascontiguousarray(prepare(items, metric))
        distance, alpha = (svs.L2, 1.2) if metric == "euclidean" else (svs.MIP, 0.95)
        parts = [str(path / part) for part in ("config", "graph", "data")] if path else []
        if path and path.exists():
            data = svs.VectorDataLoader(parts[2], svs.float32, items.shape[1])
            index = svs.Vamana(parts[0], svs.GraphLoader(parts[1]), data, distance, num_threads=threads)
        else:
            parameters = svs.VamanaBuildParameters(alpha, degree, CONSTRUCTION)
            index = svs.Vamana.build(parameters, items, distance, num_threads=threads)
            if path:
                path.mkdir()
                index.save(*parts)

        def search(queries: np.ndarray, k: int, setting: int) -> np.ndarray:
            index.search_window_size = setting
            return np.asarray(index.search(queries, k)[0]).astype(np.int64)

        return search

    return Peer(f"svs Vamana {degree}", "svs", build, graph_sweep, is_graph=True)
