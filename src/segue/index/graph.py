"""The layers of an HNSW graph as flat arrays, and how they are built: in batches, the same with any threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from segue.errors import DataError
from segue.index.metric import METRICS
from segue.index.exact import chosen_form
from segue.kernels import hnsw, simd, threads
from segue.kernels.arrays import aligned, fixed

SHARE = 8  # a batch is at most 1 / SHARE of the nodes that have links
BATCH = 8192  # nodes at most
CHUNK = 64  # nodes that a thread takes at a time


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes 0..n-1 in the order of falling levels, so that level l holds the first sizes[l] of them.

    Attributes:
        records: (n, width) int8, codes, and a scale and a bias as float32.
        links: (n, 2m) int32, the links on level 0, ended by -1.
        upper: (sizes[1] + sizes[2] + …, m) int32, those on the levels above.
        sizes: (levels,) int64.
        order: (n,) int32, the id of each node.
        centre: (dim,) float32, from where vectors are seen.
        reach: (1,) float64, the squared length to which vectors are lifted for an inner product, or 0.
    """

    records: np.ndarray
    links: np.ndarray
    upper: np.ndarray
    sizes: np.ndarray
    order: np.ndarray
    centre: np.ndarray
    reach: np.ndarray


def build_graph(vectors: np.ndarray, settings: Any) -> Graph:
    """Link vectors (n, dim) float32, which the metric has turned."""
    n, dim = vectors.shape
    random = np.random.default_rng(settings.seed)
    levels = (-np.log(1 - random.random(n)) / np.log(settings.m)).astype(np.int64)
    order = np.lexsort((random.random(n), -levels)).astype(np.int32)
    sizes = np.cumsum(np.bincount(levels)[::-1])[::-1].astype(np.int64)
    is_distance = METRICS[settings.metric].is_distance
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32) if is_distance else np.zeros(dim, np.float32)
    reach = 0.0
    if settings.metric == "dot":
        reach = float(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64).max())
    made = Graph(
        aligned((n, width_of(dim)), np.int8),
        np.full((n, 2 * settings.m), -1, np.int32),
        np.full((int(sizes[1:].sum()), settings.m), -1, np.int32),
        sizes, order, centre, np.array([reach]),
    )  # fmt: skip
    record(made, vectors, is_distance, 0, n)
    for level in range(len(sizes) - 1, -1, -1):
        link_level(made, settings, dim, level, 1, int(sizes[level]))
    return made


def width_of(dim: int) -> int:
    """Bytes of a record."""
    return -(-(dim + hnsw.META) // hnsw.STEP) * hnsw.STEP


def record(graph: Graph, vectors: np.ndarray, is_distance: bool, start: int, stop: int) -> None:
    """Write the records of the nodes [start, stop)."""
    given, floats = fixed(vectors), graph.records.view(np.float32)
    order, centre, reach = fixed(graph.order), fixed(graph.centre), float(graph.reach[0])

    def work(first: int, last: int) -> None:
        hnsw.encode(
            given, order, centre, reach, is_distance, start + first, start + last, graph.records, floats
        )

    threads.run(work, stop - start, chunk=1024)


def link_level(graph: Graph, settings: Any, dim: int, level: int, done: int, size: int) -> None:
    """Link the nodes [done, size) of a level, a batch at a time.

    The nodes of a batch choose their links among those before it; then those that they chose are told. Each row
    of links is written by one thread from what all know, so their number changes nothing.
    """
    form = simd.MARKS[chosen_form().name]
    codes, floats = fixed(graph.records).reshape(-1), fixed(graph.records.view(np.float32)).reshape(-1)
    width, is_distance = graph.records.shape[1], METRICS[settings.metric].is_distance
    first = int(graph.sizes[1:level].sum())
    rows = graph.upper[first : first + graph.sizes[level]] if level else graph.links
    links, cap, upper = rows.reshape(-1), rows.shape[1], fixed(graph.upper).reshape(-1)
    while done < size:
        count = min(size - done, BATCH, max(1, done // SHARE))
        start = done

        def attach(a: int, b: int, start: int = start) -> None:
            hnsw.attach(
                form, codes, floats, width, dim, is_distance, links, cap, upper, settings.m, graph.sizes, level,
                settings.ef_construction, start, start + a, start + b,
            )  # fmt: skip

        threads.run(attach, count, chunk=CHUNK)
        chosen = rows[start : start + count, : settings.m]
        sources, places = np.nonzero(chosen >= 0)
        targets = chosen[sources, places]
        order = np.argsort(targets, kind="stable")
        told, bounds = np.unique(targets[order], return_index=True)
        bounds = np.append(bounds, len(targets))
        sources = (start + sources[order]).astype(np.int32)

        def accept(a: int, b: int) -> None:
            hnsw.accept(
                form, codes, floats, width, dim, is_distance, links, cap, told, sources, bounds, a, b
            )

        threads.run(accept, len(told), chunk=CHUNK)
        done += count
