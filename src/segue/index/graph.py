"""The layers of an HNSW graph as flat arrays, and their construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from segue.index.form import chosen_form
from segue.kernels import hnsw, simd, threads
from segue.kernels.arrays import aligned, readonly
from segue.progress import Progress, silent

GROWTH = 8  # a batch is at most one node per so many linked nodes
MAX_BATCH = 8192  # nodes
LENGTH_POWER = 0.5  # of the vectors' lengths, with which nodes are linked for an inner product
LINKED_PER_TASK, ENCODED_PER_TASK = 64, 1024  # nodes that a thread links, or encodes, at a time
MAX_GROWTH = 4  # times the number of nodes that the upper layers suit

_attach: Callable[..., None] = hnsw.attach
_accept: Callable[..., None] = hnsw.accept
_adopt: Callable[..., None] = hnsw.adopt


class GraphOptions(NamedTuple):
    """Options of a graph; see `HNSW`."""

    m: int
    ef_construction: int
    is_distance: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes 0..n-1 in the order of falling levels: level l consists of the first sizes[l] nodes.

    Attributes:
        records: (n, width) int8, codes and two float32 numbers per node (see `kernels.hnsw`).
        links: (n, 2 m) int32, the links on level 0, padded with -1.
        upper: (sizes[1] + sizes[2] + …, m) int32, the links on the levels above.
        sizes: (levels,) int64.
        order: (n,) int32, the item of each node.
        center: (dim,) float32, the mean, which codes are relative to for a distance, else zeros.
    """

    records: np.ndarray
    links: np.ndarray
    upper: np.ndarray
    sizes: np.ndarray
    order: np.ndarray
    center: np.ndarray


def build_graph(vectors: np.ndarray, options: GraphOptions, progress: Progress = silent) -> Graph:
    """Link vectors (n, dim) float32, transformed for the metric."""
    n, dim = vectors.shape
    random = np.random.default_rng(options.seed)
    levels = (-np.log(1 - random.random(n)) / np.log(options.m)).astype(np.int64)
    order = np.lexsort((random.random(n), -levels)).astype(np.int32)
    sizes = np.cumsum(np.bincount(levels)[::-1])[::-1].astype(np.int64)
    center = np.zeros(dim, np.float32)
    if options.is_distance:
        center = vectors.mean(0, dtype=np.float64).astype(np.float32)
    graph = Graph(
        records=aligned((n, record_width(dim)), np.int8),
        links=np.full((n, 2 * options.m), -1, np.int32),
        upper=np.full((int(sizes[1:].sum()), options.m), -1, np.int32),
        sizes=sizes,
        order=order,
        center=center,
    )
    _encode(graph, vectors, options, 0)
    for level in range(len(sizes) - 1, -1, -1):
        _link(graph, options, level, 1, silent if level else progress)
    return graph


def extend_graph(graph: Graph, vectors: np.ndarray, options: GraphOptions) -> Graph:
    """Link the vectors (n, dim) that a graph lacks on level 0, or rebuild a graph that has grown too much."""
    old, n = len(graph.order), len(vectors)
    above = int(graph.sizes[1]) if len(graph.sizes) > 1 else 1
    if n > MAX_GROWTH * options.m * above:
        return build_graph(vectors, options)
    records = aligned((n, graph.records.shape[1]), np.int8)
    records[:old] = graph.records
    links = np.full((n, 2 * options.m), -1, np.int32)
    links[:old] = graph.links
    extended = replace(
        graph,
        records=records,
        links=links,
        sizes=np.concatenate([[n], graph.sizes[1:]]),
        order=np.concatenate([graph.order, np.arange(old, n, dtype=np.int32)]),
    )
    _encode(extended, vectors, options, old)
    _link(extended, options, 0, old)
    return extended


def record_width(dim: int) -> int:
    """Return the number of bytes of a record."""
    return -(-(dim + hnsw.META) // hnsw.STEP) * hnsw.STEP


def flat_records(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return the records as the kernels read them: as bytes, and the same memory as float32."""
    return readonly(graph.records).reshape(-1), readonly(graph.records.view(np.float32)).reshape(-1)


def group_by_target(choices: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Invert the choices of nodes.

    Args:
        choices: (nodes, m) int32, the nodes that each node chose, padded with -1.
        first: the number of the first choosing node.

    Returns:
        The chosen nodes, the nodes that chose them, and the bounds of these for each chosen node.
    """
    sources, places = np.nonzero(choices >= 0)
    targets = choices[sources, places]
    order = np.argsort(targets, kind="stable")
    chosen, bounds = np.unique(targets[order], return_index=True)
    return chosen, (first + sources[order]).astype(np.int32), np.append(bounds, len(targets))


def _encode(graph: Graph, vectors: np.ndarray, options: GraphOptions, first: int) -> None:
    """Write the records of the nodes from `first` on."""
    items, order, center = readonly(vectors), readonly(graph.order), readonly(graph.center)
    floats, is_distance = graph.records.view(np.float32), options.is_distance

    def work(start: int, stop: int) -> None:
        start, stop = first + start, first + stop
        hnsw.encode(items, order, center, LENGTH_POWER, is_distance, start, stop, graph.records, floats)

    threads.run(work, len(graph.order) - first, chunk=ENCODED_PER_TASK)


def _link(graph: Graph, options: GraphOptions, level: int, linked: int, progress: Progress = silent) -> None:
    """Link the nodes of a level from `linked` on, a batch at a time.

    The nodes of a batch choose their links among the nodes before the batch; then the chosen nodes accept
    them. One thread writes each row of links, from data that is the same for all threads, so the number of
    threads does not change the graph.
    """
    form, is_distance = simd.MARKS[chosen_form().name], options.is_distance
    nodes = (form, *flat_records(graph), graph.records.shape[1], len(graph.center), is_distance)
    size, first = int(graph.sizes[level]), int(graph.sizes[1:level].sum())
    rows = graph.upper[first : first + size] if level else graph.links
    layer = (rows.reshape(-1), rows.shape[1])
    layers = (readonly(graph.upper).reshape(-1), options.m, graph.sizes, level)
    while linked < size:
        progress("indexing", linked, size)
        count = min(size - linked, MAX_BATCH, max(1, linked // GROWTH))

        def attach(start: int, stop: int, before: int = linked) -> None:
            start, stop = before + start, before + stop
            _attach(*nodes, *layer, *layers, options.ef_construction, before, start, stop)

        threads.run(attach, count, chunk=LINKED_PER_TASK)
        groups = group_by_target(rows[linked : linked + count, : options.m], linked)

        def accept(start: int, stop: int, groups: tuple[np.ndarray, ...] = groups) -> None:
            _accept(*nodes, *layer, *groups, start, stop)

        threads.run(accept, len(groups[0]), chunk=LINKED_PER_TASK)
        linked += count
    _adopt(*layer, size)
    progress("indexing", size, size)
