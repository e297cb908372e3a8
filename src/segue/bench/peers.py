"""The other libraries that search vectors, each behind the same two calls.

`peer.build(items, metric, threads, kept)` gives a `Search`, which is called with (queries, k, setting) and
returns ids (q, k). `kept` is a path to load the built index from, or to save it to; None keeps nothing.
`peer.sweeps(n, k)` are rows of settings, each from fast to accurate.
Metrics are "dot", "cosine", "euclidean".

Graphs lose recall by inner product when the lengths of vectors differ, so each is also tried `lifted`:
the items get a coordinate that makes them equally long, which keeps the order (Bachrach et al. 2014).
Where a library knows no cosine, the items are normalised; a query's length never changes the order.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from segue.index.timing import Search, geometric

Build = Callable[[np.ndarray, str, int, "Path | None"], Search]
Sweeps = Callable[[int, int], list[list[Any]]]

METRICS = ("dot", "cosine", "euclidean")
CONSTRUCTION = 200  # candidates looked at for each item of a graph while it is built
BLOCK = 1024  # queries that numpy scores at a time


@dataclass(frozen=True)
class Peer:
    """One library with one way of building; its searches differ by a setting only."""

    name: str
    package: str
    build: Build
    sweeps: Sweeps
    is_exact: bool = False
    is_graph: bool = False
    metrics: tuple[str, ...] = METRICS

    def absent(self) -> str:
        """Say why the library cannot be used here, or nothing."""
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            return f"{self.name}: {error}"
        return ""


def unit(vectors: np.ndarray) -> np.ndarray:
    """Normalise rows; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def turned(items: np.ndarray, metric: str) -> np.ndarray:
    """Return what is indexed by inner product or euclidean distance: unit rows for cosine."""
    return unit(items) if metric == "cosine" else items


def graph_sweep(n: int, k: int) -> list[list[Any]]:
    """How many candidates a search in a graph keeps, at least k."""
    return [geometric(k, max(1024, 16 * k))]


def only(n: int, k: int) -> list[list[Any]]:
    """The one setting of exact search."""
    return [[None]]


def lifted(peer: Peer) -> Peer:
    """Inner product by a library's euclidean search among items that are made equally long."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        squares = np.einsum("ij,ij->i", items, items, dtype=np.float64)
        missing = np.sqrt(squares.max() - squares).astype(np.float32)
        extra = 4 - items.shape[1] % 4  # zeros up to a multiple of 4, which kernels and sub-quantisers want
        columns = np.zeros((len(items), extra), np.float32)
        columns[:, 0] = missing
        search = peer.build(np.hstack([items, columns]), "euclidean", threads, kept)

        def padded(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            return search(np.pad(queries, ((0, 0), (0, extra))), k, setting)

        return padded

    return replace(peer, name=f"{peer.name} lifted", build=build, metrics=("dot",))


def hnswlib(m: int) -> Peer:
    """The reference HNSW (Malkov and Yashunin)."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        import hnswlib

        items = turned(items, metric)
        index = hnswlib.Index("l2" if metric == "euclidean" else "ip", items.shape[1])
        if kept and kept.exists():
            index.load_index(str(kept))
        else:
            index.init_index(len(items), M=m, ef_construction=CONSTRUCTION, random_seed=0)
            index.add_items(items, num_threads=threads)
        index.set_num_threads(threads)
        if kept and not kept.exists():
            index.save_index(str(kept))

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            index.set_ef(setting)
            return np.asarray(index.knn_query(queries, k)[0])

        return search

    return Peer(f"hnswlib M{m}", "hnswlib", build, graph_sweep, is_graph=True)


def voyager(m: int) -> Peer:
    """Spotify's HNSW, which lifts inner products by itself."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        from voyager import Index, Space

        if kept and kept.exists():
            index = Index.load(str(kept))
        else:
            space = {"dot": Space.InnerProduct, "cosine": Space.Cosine, "euclidean": Space.Euclidean}[metric]
            index = Index(space, items.shape[1], m, CONSTRUCTION, max_elements=len(items))
            index.add_items(items, num_threads=threads)
            if kept:
                index.save(str(kept))

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            return np.asarray(index.query(queries, k, threads, setting)[0])

        return search

    return Peer(f"voyager M{m}", "voyager", build, graph_sweep)


def usearch(m: int, kind: str) -> Peer:
    """HNSW of unum, in float32 or, as it prefers, in 16 bits."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        from usearch.index import Index

        items = turned(items, metric)
        index = Index(
            ndim=items.shape[1], metric="l2sq" if metric == "euclidean" else "ip", dtype=kind,
            connectivity=m, expansion_add=CONSTRUCTION,
        )  # fmt: skip
        if kept and kept.exists():
            index.load(str(kept))
        else:
            index.add(np.arange(len(items), dtype=np.uint64), items, threads=threads)
        if kept and not kept.exists():
            index.save(str(kept))

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            index.expansion_search = setting
            return np.asarray(index.search(queries, k, threads=threads).keys).astype(np.int64)

        return search

    return Peer(f"usearch M{m} {kind}", "usearch", build, graph_sweep, is_graph=True)


def svs(degree: int) -> Peer:
    """Intel's Vamana on float32. Its LVQ ends the process on processors that are not Intel's."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        import svs

        items = np.ascontiguousarray(turned(items, metric))
        distance, alpha = (svs.L2, 1.2) if metric == "euclidean" else (svs.MIP, 0.95)
        parts = [str(kept / part) for part in ("config", "graph", "data")] if kept else []
        if kept and kept.exists():
            data = svs.VectorDataLoader(parts[2], svs.float32, items.shape[1])
            index = svs.Vamana(parts[0], svs.GraphLoader(parts[1]), data, distance, num_threads=threads)
        else:
            wanted = svs.VamanaBuildParameters(alpha, degree, CONSTRUCTION)
            index = svs.Vamana.build(wanted, items, distance, num_threads=threads)
            if kept:
                kept.mkdir()
                index.save(*parts)

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            index.search_window_size = setting
            return np.asarray(index.search(queries, k)[0]).astype(np.int64)

        return search

    return Peer(f"svs Vamana {degree}", "svs", build, graph_sweep, is_graph=True)


def scann(leaves: float, soar: bool = False) -> Peer:
    """Google's tree of about `leaves` √n leaves (0: none), asymmetric hashing, re-ranking in float32."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        from scann import scann_ops_pybind

        if kept and kept.exists():
            searcher = scann_ops_pybind.load_searcher(str(kept))
        else:
            searcher = _scann(np.ascontiguousarray(turned(items, metric)), metric, threads, leaves, soar)
            if kept:
                kept.mkdir()
                searcher.serialize(str(kept))
        searcher.set_num_threads(threads)

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            visited, again = setting
            return np.asarray(searcher.search_batched_parallel(queries, k, again, visited or None)[0])

        return search

    def sweeps(n: int, k: int) -> list[list[Any]]:
        if not leaves:
            return [[(0, again) for again in geometric(k, min(n, 64 * k))]]
        most = max(2, leaf_count(n, leaves) // 2)
        return [[(visited, times * k) for visited in geometric(1, most)] for times in (2, 4, 10, 30)]

    kind = f"tree {leaves:g}√n{' SOAR' if soar else ''} " if leaves else ""
    metrics = ("dot", "cosine") if soar else METRICS
    return Peer(f"scann {kind}AH", "scann", build, sweeps, metrics=metrics)


def _scann(items: np.ndarray, metric: str, threads: int, leaves: float, soar: bool) -> Any:
    from scann import scann_ops_pybind

    distance, anisotropy = ("squared_l2", float("nan")) if metric == "euclidean" else ("dot_product", 0.2)
    builder = scann_ops_pybind.builder(items, 10, distance).set_n_training_threads(threads)
    sample = min(len(items), 250_000)
    if leaves:
        extra = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if soar else {}
        count = leaf_count(len(items), leaves)
        builder = builder.tree(count, 10, sample, max(1, len(items) // count // 10), **extra)
    return builder.score_ah(2, anisotropy, sample).reorder(100).build()


def leaf_count(n: int, times: float) -> int:
    """So many times √n partitions."""
    return max(2, round(times * math.sqrt(n)))


def faiss(name: str, recipe: Callable[[int, int], str], sweeps: Sweeps, is_graph: bool = False) -> Peer:
    """One of faiss's indexes by its factory's recipe (n, dim); settings are its parameters by name."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        import faiss

        faiss.omp_set_num_threads(threads)
        items = np.ascontiguousarray(turned(items, metric))
        index: Any
        if kept and kept.exists():
            index = faiss.read_index(str(kept))
        else:
            kind = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
            index = faiss.index_factory(items.shape[1], recipe(*items.shape), kind)
            if is_graph:
                index.hnsw.efConstruction = CONSTRUCTION
            index.train(items)
            index.add(items)
            if kept:
                faiss.write_index(index, str(kept))
        parameters = faiss.ParameterSpace()

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            faiss.omp_set_num_threads(threads)
            for parameter, value in (setting or {}).items():
                parameters.set_index_parameter(index, parameter, value)
            return np.asarray(index.search(queries, k)[1])

        return search

    return Peer(f"faiss {name}", "faiss", build, sweeps, name == "flat", is_graph)


def faiss_hnsw(m: int) -> Peer:
    """HNSW on float32."""

    def sweeps(n: int, k: int) -> list[list[Any]]:
        return [[{"efSearch": ef} for ef in graph_sweep(n, k)[0]]]

    return faiss(f"HNSW{m}", lambda n, dim: f"HNSW{m},Flat", sweeps, is_graph=True)


def faiss_ivf(times: float) -> Peer:
    """Float32 vectors in `times` √n partitions."""

    def sweeps(n: int, k: int) -> list[list[Any]]:
        return [[{"nprobe": probes} for probes in geometric(1, leaf_count(n, times))]]

    return faiss(f"IVF {times:g}√n", lambda n, dim: f"IVF{leaf_count(n, times)},Flat", sweeps)


def faiss_fast_scan(times: float) -> Peer:
    """4-bit product quantisation, two dimensions a code, in `times` √n partitions (0: all), re-ranked."""

    def recipe(n: int, dim: int) -> str:
        coarse = f"IVF{leaf_count(n, times)}," if times else ""
        return f"{coarse}PQ{-(-dim // 2) if dim % 2 == 0 else dim}x4fs,RFlat"

    def sweeps(n: int, k: int) -> list[list[Any]]:
        most = min(64, n // k)
        if not times:
            return [[{"k_factor_rf": again} for again in geometric(1, most)]]
        probes = geometric(1, leaf_count(n, times))
        return [
            [{"nprobe": count, "k_factor_rf": again} for count in probes]
            for again in (2, 4, 10, 30)
            if again <= most
        ]

    return faiss(f"{f'IVF {times:g}√n ' if times else ''}PQ fast-scan", recipe, sweeps)


def annoy(trees: int) -> Peer:
    """Spotify's forest, asked from as many Python threads: it lets go of the GIL."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        from annoy import AnnoyIndex

        named: Any = {"dot": "dot", "cosine": "angular", "euclidean": "euclidean"}[metric]
        index = AnnoyIndex(items.shape[1], named)
        if kept and kept.exists():
            index.load(str(kept))
        else:
            for number, vector in enumerate(items):
                index.add_item(number, vector)
            index.set_seed(0)
            index.build(trees, threads)
            if kept:
                index.save(str(kept))
        pool = ThreadPoolExecutor(threads)

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            found = np.full((len(queries), k), -1, np.int32)

            def some(first: int) -> None:
                for place in range(first, len(queries), threads):
                    ids = index.get_nns_by_vector(queries[place], k, setting)
                    found[place, : len(ids)] = ids

            if len(queries) == 1:
                some(0)
            else:
                list(pool.map(some, range(threads)))
            return found

        return search

    def sweeps(n: int, k: int) -> list[list[Any]]:
        return [geometric(min(n, 10 * k), n)]

    return Peer(f"annoy {trees}", "annoy", build, sweeps)


def numpy() -> Peer:
    """A matrix product and a partial sort, a block of queries at a time."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        columns = turned(items, metric).T
        offsets = 0.5 * np.einsum("ij,ij->i", items, items) if metric == "euclidean" else np.float32(0)
        blas = ThreadpoolController()

        def best(block: np.ndarray, k: int) -> np.ndarray:
            losses = offsets - block @ columns
            ids = np.argpartition(losses, min(k, losses.shape[1] - 1), 1)[:, :k]
            order = np.argsort(np.take_along_axis(losses, ids, 1), 1, kind="stable")
            return np.take_along_axis(ids, order, 1)

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            with blas.limit(limits=threads, user_api="blas"):
                rows = range(0, len(queries), BLOCK)
                return np.concatenate([best(queries[row : row + BLOCK], k) for row in rows])

        return search

    return Peer("numpy", "numpy", build, only, is_exact=True)


FLAT = faiss("flat", lambda n, dim: "Flat", only)
NUMPY = numpy()
WORTH_LIFTING = [
    hnswlib(16), hnswlib(32), faiss_hnsw(16), faiss_hnsw(32), svs(32), usearch(16, "f32"),
    faiss_ivf(1), faiss_ivf(4), annoy(50),
]  # fmt: skip
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in [
        FLAT, NUMPY, *WORTH_LIFTING, *map(lifted, WORTH_LIFTING), svs(64), usearch(16, "bf16"),
        faiss_fast_scan(0), faiss_fast_scan(1), faiss_fast_scan(4),
        scann(0), scann(1), scann(4), scann(1, soar=True), scann(4, soar=True), voyager(16), voyager(32),
    ]
}  # fmt: skip


def chosen(parts: list[str], metric: str) -> list[Peer]:
    """The peers for a metric whose names hold one of `parts` (all, if there are none)."""
    return [
        peer
        for peer in PEERS.values()
        if metric in peer.metrics and (not parts or any(part in peer.name for part in parts))
    ]
