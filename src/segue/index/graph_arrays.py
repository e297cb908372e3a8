"""Restoring an HNSW graph from stored arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segue.index.arrays import check_consistent, matches, spec, take_fields
from segue.index.graph import Graph, record_width


def restore_graph(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], m: int) -> Graph:
    """Return the graph among stored arrays; raise `DataError` if they do not fit these vectors."""
    graph = take_fields(Graph, arrays)
    check_consistent(_shapes_fit(graph, shape, m) and _values_fit(graph))
    return graph


def _shapes_fit(graph: Graph, shape: tuple[int, ...], m: int) -> bool:
    """Return whether the dtypes, shapes and memory orders fit together."""
    (n, dim), sizes = shape, graph.sizes
    if sizes.ndim != 1 or sizes.dtype != np.int64 or not len(sizes):
        return False
    specs = {
        "records": spec(np.int8, (n, record_width(dim))),
        "links": spec(np.int32, (n, 2 * m)),
        "upper": spec(np.int32, (int(sizes[1:].sum()), m)),
        "order": spec(np.int32, (n,)),
        "center": spec(np.float32, (dim,)),
    }
    return (
        sizes[0] == n
        and bool((np.diff(sizes) <= 0).all())
        and sizes[-1] >= 1
        and matches(vars(graph), specs)
        and all(vars(graph)[name].flags.c_contiguous for name in specs)
    )


def _values_fit(graph: Graph) -> bool:
    """Return whether each link and each item exists, so that the kernels need not check."""
    n, sizes = len(graph.order), graph.sizes
    levels = [graph.links]
    if len(sizes) > 1:
        levels += np.split(graph.upper, np.cumsum(sizes[1:])[:-1])
    return (
        all(links.min() >= -1 and links.max() < size for links, size in zip(levels, sizes, strict=True))
        and np.array_equal(np.sort(graph.order), np.arange(n))
        and bool(np.isfinite(graph.records.view(np.float32)[:, -2:]).all())
        and bool(np.isfinite(graph.center).all())
    )
