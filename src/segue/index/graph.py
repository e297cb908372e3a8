"""The layers of an HNSW graph as flat arrays, and their building, the same with any number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from segue.errors import DataError
from segue.index.exact import chosen_form
from segue.index.metric import METRICS
from segue.kernels import hnsw, simd, threads
from segue.kernels.arrays import aligned, readonly
from segue.progress import Progress, silent

kernels: Any = hnsw
SHARE = 8  # a batch is at most one node for so many that have links
BATCH = 8192  # nodes at most
POWER = 0.5  # of a length, by which nodes are linked for an inner product
CHUNK, ROWS = 64, 1024  # nodes that a thread links, or encodes, at a time
OUTGROWN = 4  # times the nodes that the upper layers are made for


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes 0..n-1 in the order of falling levels, so that level l holds the first sizes[l] of them.

    Attributes:
        records: (n, width) int8, codes, and two numbers in float32 (see `kernels.hnsw`).
        links: (n, 2 m) int32, the links on level 0, ended by -1.
        upper: (sizes[1] + sizes[2] + …, m) int32, those on the levels above.
        sizes: (levels,) int64.
        order: (n,) int32, the id of each node.
        centre: (dim,) float32, from where vectors are seen for a distance.
    """

    records: np.ndarray
    links: np.ndarray
    upper: np.ndarray
    sizes: np.ndarray
    order: np.ndarray
    centre: np.ndarray


def build_graph(vectors: np.ndarray, settings: Any, progress: Progress = silent) -> Graph:
    """Link vectors (n, dim) float32, which the metric has turned."""
    n, dim = vectors.shape
    random = np.random.default_rng(settings.seed)
    levels = (-np.log(1 - random.random(n)) / np.log(settings.m)).astype(np.int64)
    order = np.lexsort((random.random(n), -levels)).astype(np.int32)
    sizes = np.cumsum(np.bincount(levels)[::-1])[::-1].astype(np.int64)
    centre = np.zeros(dim, np.float32)
    if METRICS[settings.metric].is_distance:
        centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    made = Graph(
        records=aligned((n, width_of(dim)), np.int8),
        links=np.full((n, 2 * settings.m), -1, np.int32),
        upper=np.full((int(sizes[1:].sum()), settings.m), -1, np.int32),
        sizes=sizes,
        order=order,
        centre=centre,
    )
    encode(made, vectors, settings, 0)
    for level in range(len(sizes) - 1, -1, -1):
        link(made, settings, level, 1, silent if level else progress)
    return made


def grown(graph: Graph, vectors: np.ndarray, settings: Any) -> Graph:
    """Link what vectors (n, dim) hold beyond those of a graph, on level 0; or build anew what is outgrown."""
    old, n = len(graph.order), len(vectors)
    above = int(graph.sizes[1]) if len(graph.sizes) > 1 else 1
    if n > OUTGROWN * settings.m * above:
        return build_graph(vectors, settings)
    records = aligned((n, graph.records.shape[1]), np.int8)
    records[:old] = graph.records
    links = np.full((n, 2 * settings.m), -1, np.int32)
    links[:old] = graph.links
    made = replace(
        graph,
        records=records,
        links=links,
        sizes=np.concatenate([[n], graph.sizes[1:]]),
        order=np.concatenate([graph.order, np.arange(old, n, dtype=np.int32)]),
    )
    encode(made, vectors, settings, old)
    link(made, settings, 0, old)
    return made


def width_of(dim: int) -> int:
    """Bytes of a record."""
    return -(-(dim + hnsw.META) // hnsw.STEP) * hnsw.STEP


def encode(graph: Graph, vectors: np.ndarray, settings: Any, first: int) -> None:
    """Write the records of the nodes from `first` on."""
    given, order, centre = readonly(vectors), readonly(graph.order), readonly(graph.centre)
    floats, is_distance = graph.records.view(np.float32), METRICS[settings.metric].is_distance

    def work(start: int, stop: int) -> None:
        hnsw.encode(
            given, order, centre, POWER, is_distance, first + start, first + stop, graph.records, floats
        )

    threads.run(work, len(graph.order) - first, chunk=ROWS)


def link(graph: Graph, settings: Any, level: int, done: int, progress: Progress = silent) -> None:
    """Link the nodes of a level from `done` on, a batch at a time.

    The nodes of a batch choose their links among those before it; then those that they chose are told.
    Each row of links is written by one thread from what all know, so their number changes nothing.
    """
    form, is_distance = simd.MARKS[chosen_form().name], METRICS[settings.metric].is_distance
    nodes: tuple[Any, ...] = (form, *flat(graph), graph.records.shape[1], len(graph.centre), is_distance)
    size, first = int(graph.sizes[level]), int(graph.sizes[1:level].sum())
    rows = graph.upper[first : first + size] if level else graph.links
    layer: tuple[Any, ...] = (rows.reshape(-1), rows.shape[1])
    layers = (readonly(graph.upper).reshape(-1), settings.m, graph.sizes, level)
    while done < size:
        progress("indexing", done, size)
        count = min(size - done, BATCH, max(1, done // SHARE))

        def attach(start: int, stop: int, done: int = done) -> None:
            kernels.attach(*nodes, *layer, *layers, settings.ef_construction, done, done + start, done + stop)

        threads.run(attach, count, chunk=CHUNK)
        told = by_target(rows[done : done + count, : settings.m], done)

        def accept(start: int, stop: int, told: tuple[np.ndarray, ...] = told) -> None:
            kernels.accept(*nodes, *layer, *told, start, stop)

        threads.run(accept, len(told[0]), chunk=CHUNK)
        done += count
    kernels.adopt(*layer, size)
    progress("indexing", size, size)


def by_target(chosen: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn the choices of nodes from `first` on around: who is chosen, by whom, and where each begins."""
    sources, places = np.nonzero(chosen >= 0)
    targets = chosen[sources, places]
    order = np.argsort(targets, kind="stable")
    told, bounds = np.unique(targets[order], return_index=True)
    return told, (first + sources[order]).astype(np.int32), np.append(bounds, len(targets))


def flat(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """The records as kernels read them: bytes, and the same as float32."""
    return readonly(graph.records).reshape(-1), readonly(graph.records.view(np.float32)).reshape(-1)


def graph_of(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], settings: Any) -> Graph:
    """The graph among the arrays of an index of vectors (n, dim); a `DataError` if they do not fit."""
    missing = [field.name for field in fields(Graph) if field.name not in arrays]
    if missing:
        raise DataError(f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors")
    graph = Graph(**{field.name: arrays[field.name] for field in fields(Graph)})
    if not (_shapes_fit(graph, shape, settings) and _values_fit(graph)):
        raise DataError("the index's arrays do not fit together; build it again from its vectors")
    return graph


def _shapes_fit(graph: Graph, shape: tuple[int, ...], settings: Any) -> bool:
    (n, dim), sizes = shape, graph.sizes
    if sizes.ndim != 1 or sizes.dtype != np.int64 or not len(sizes):
        return False
    wanted = {
        "records": (np.int8, (n, width_of(dim))),
        "links": (np.int32, (n, 2 * settings.m)),
        "upper": (np.int32, (int(sizes[1:].sum()), settings.m)),
        "order": (np.int32, (n,)),
        "centre": (np.float32, (dim,)),
    }
    given = {name: getattr(graph, name) for name in wanted}
    return (
        sizes[0] == n
        and bool((np.diff(sizes) <= 0).all())
        and sizes[-1] >= 1
        and all((given[name].dtype, given[name].shape) == wanted[name] for name in wanted)
        and all(array.flags.c_contiguous for array in given.values())
    )


def _values_fit(graph: Graph) -> bool:
    """Whether every link and id leads somewhere, so that kernels need not look."""
    n, sizes = len(graph.order), graph.sizes
    levels = (
        [graph.links, *np.split(graph.upper, np.cumsum(sizes[1:])[:-1])] if len(sizes) > 1 else [graph.links]
    )
    return (
        all(links.min() >= -1 and links.max() < size for links, size in zip(levels, sizes, strict=True))
        and np.array_equal(np.sort(graph.order), np.arange(n))
        and bool(np.isfinite(graph.records.view(np.float32)[:, -2:]).all())
        and bool(np.isfinite(graph.centre).all())
    )
