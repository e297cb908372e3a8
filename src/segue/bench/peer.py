"""One search library behind a common interface, and what the libraries share.

Graphs lose recall by inner product if the lengths of the vectors differ, so each graph library is also
measured `lifted`: an extra coordinate gives all items the same length and keeps the order
(Bachrach et al. 2014). Libraries without cosine get normalized items; the length of a query never
changes the order.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from segue.index.effort import geometric
from segue.index.timing import Search

Setting: TypeAlias = "int | tuple[int, int] | dict[str, int] | None"
"""The search setting of a library, such as the candidates of a graph; None if there is none."""
Sweep: TypeAlias = list[Setting]
"""Settings from fast to accurate."""

METRICS = ("dot", "cosine", "euclidean")
CONSTRUCTION = 200  # candidates per item while a graph is built


@dataclass(frozen=True)
class Peer:
    """One library with one way of building; its searches differ by a setting only.

    Attributes:
        name: the name in tables.
        package: the package to import.
        build: (items, metric, threads, path) to a search. The index is loaded from `path` if that exists,
            else built and saved there; None does neither.
        sweeps: (number of items, k) to one or more sweeps.
        is_exact: whether it always finds the true neighbors.
        is_graph: whether it searches a graph.
        metrics: the metrics it supports.
    """

    name: str
    package: str
    build: Callable[[np.ndarray, str, int, Path | None], Search]
    sweeps: Callable[[int, int], list[Sweep]]
    is_exact: bool = False
    is_graph: bool = False
    metrics: tuple[str, ...] = METRICS

    def absent(self) -> str:
        """Return why the library cannot be imported, or an empty string."""
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            return f"{self.name}: {error}"
        return ""


def unit(vectors: np.ndarray) -> np.ndarray:
    """Normalize rows; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def prepare(items: np.ndarray, metric: str) -> np.ndarray:
    """Return the items for a library without cosine: normalized if the metric is cosine."""
    return unit(items) if metric == "cosine" else items


def graph_sweep(n: int, k: int) -> list[Sweep]:
    """Return numbers of candidates for a graph search, at least k."""
    return [[*geometric(k, max(1024, 16 * k))]]


def exact_sweep(n: int, k: int) -> list[Sweep]:
    """Return the single setting of exact search."""
    return [[None]]


def leaf_count(n: int, factor: float) -> int:
    """Return `factor` times √n partitions."""
    return max(2, round(factor * math.sqrt(n)))


def lifted(peer: Peer) -> Peer:
    """Return inner product search by a library's euclidean search over items of equal length."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        squares = np.einsum("ij,ij->i", items, items, dtype=np.float64)
        lift = np.sqrt(squares.max() - squares).astype(np.float32)
        extra = 4 - items.shape[1] % 4  # zeros up to a multiple of 4, for kernels and sub-quantizers
        columns = np.zeros((len(items), extra), np.float32)
        columns[:, 0] = lift
        search = peer.build(np.hstack([items, columns]), "euclidean", threads, path)

        def padded(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
            return search(np.pad(queries, ((0, 0), (0, extra))), k, setting)

        return padded

    return replace(peer, name=f"{peer.name} lifted", build=build, metrics=("dot",))
