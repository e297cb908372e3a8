"""The partitions of an IVF index as arrays: building and restoring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from segue.index.arrays import check_consistent, matches, spec, take_fields
from segue.index.form import chosen_form
from segue.index.frame import principal_frame
from segue.index.partitions import (
    ITERATIONS,
    average,
    encode,
    k_means,
    nearest,
    pad_to_blocks,
    segment_starts,
)
from segue.kernels import scan, simd

ROOT_FACTOR = 5  # default number of partitions, as a multiple of √n
MIN_SIZE = 64  # vectors per partition, unless more partitions are requested


@dataclass(frozen=True, eq=False)
class IVFArrays:
    """Arrays for `kernels.ivf.search`: p partitions of b blocks of 16 items, s segments of dimensions.

    Attributes:
        codes: int8, in the order in which the scan reads them.
        order: (16 b,) int32, the item at each place, -1 at places without an item.
        block_starts: (p + 1,) int64, where the blocks of each partition start.
        bound_table: (p, 5 + 3 s) float32, the numbers of each partition that the bounds need.
        half_sq_norms: (16 b,) float32, |x|²/2 at each place, for a distance, or (0,).
        centroids: (p, dim) float32, in the axes.
        spreads: (p,) float32, the standard deviation of a dimension within each partition.
        max_code_norms: (s, 2) float32, the largest norm of codes in the even and odd pairs of dimensions.
        axes: (dim, dim) float32, the principal axes as rows, or (0, 0).
        center: (dim,) float32, the mean, for a distance, or (0,).
        rounding: (1,) float64, the relative error of float32 sums and axes.
        probes: (1,) int64, the number of partitions that a search visits by default.
    """

    codes: np.ndarray
    order: np.ndarray
    block_starts: np.ndarray
    bound_table: np.ndarray
    half_sq_norms: np.ndarray
    centroids: np.ndarray
    spreads: np.ndarray
    max_code_norms: np.ndarray
    axes: np.ndarray
    center: np.ndarray
    rounding: np.ndarray
    probes: np.ndarray


def build_partitions(
    vectors: np.ndarray,
    partitions: int | None,
    probes: int | None,
    is_distance: bool,
    seed: int,
    report: Callable[[int], None],
) -> IVFArrays:
    """Divide vectors into partitions and encode them.

    Args:
        vectors: (n, dim) float32, transformed for the metric.
        partitions: number of partitions; None: about 5 √n.
        probes: number of partitions that a search visits by default; None: all.
        is_distance: whether the metric is a distance.
        seed: random seed of k-means.
        report: called with the number of finished steps.
    """
    report(0)
    (n, dim), starts = vectors.shape, segment_starts(vectors.shape[1])
    frame = principal_frame(vectors, center=is_distance, rotated=len(starts) > 2 and n >= dim)
    vectors = frame.vectors
    count = partitions or max(1, min(round(ROOT_FACTOR * np.sqrt(n)), n // MIN_SIZE))
    assignment, count = _assign(vectors, min(count, n), seed, report)
    report(ITERATIONS + 1)
    centroids, spreads, sizes, ids = average(vectors, assignment, count)
    order, block_starts = pad_to_blocks(ids, sizes)
    codes = encode(vectors, order, block_starts, starts)
    return IVFArrays(
        codes.codes, order, block_starts, codes.bound_table,
        codes.half_sq_norms if is_distance else np.empty(0, np.float32), centroids, spreads,
        codes.max_code_norms, frame.axes, frame.center, np.array([frame.rounding]),
        np.array([min(probes or count, count)]),
    )  # fmt: skip


def _assign(
    vectors: np.ndarray, count: int, seed: int, report: Callable[[int], None]
) -> tuple[np.ndarray, int]:
    """Return the partition (n,) int32 of each vector, and the number of partitions that are not empty."""
    if count <= 1:
        return np.zeros(len(vectors), np.int32), count
    form = chosen_form()
    centroids = k_means(vectors, count, form, seed, report)
    used, assignment = np.unique(nearest(vectors, centroids, form), return_inverse=True)
    return assignment.astype(np.int32), len(used)


def restore_partitions(
    arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], is_distance: bool
) -> IVFArrays:
    """Return the partitions among stored arrays; raise `DataError` if they do not fit these vectors."""
    partitions = take_fields(IVFArrays, arrays)
    check_consistent(_shapes_fit(partitions, shape[1], is_distance) and _values_fit(partitions, shape[0]))
    return partitions


def _shapes_fit(partitions: IVFArrays, dim: int, is_distance: bool) -> bool:
    """Return whether the dtypes and shapes fit together."""
    places, count, starts = len(partitions.order), len(partitions.centroids), segment_starts(dim)
    segments = len(starts) - 1
    specs = {
        "codes": spec(np.int8, (places * 4 * (int(starts[-1]) + segments),)),
        "order": spec(np.int32, (places,)),
        "block_starts": spec(np.int64, (count + 1,)),
        "bound_table": spec(np.float32, (count, scan.BOUNDS + 3 * segments)),
        "half_sq_norms": spec(np.float32, (places if is_distance else 0,)),
        "centroids": spec(np.float32, (count, dim)),
        "spreads": spec(np.float32, (count,)),
        "max_code_norms": spec(np.float32, (segments, 2)),
        "axes": spec(np.float32, (0, 0), (dim, dim)),
        "center": spec(np.float32, (dim if is_distance else 0,)),
        "rounding": spec(np.float64, (1,)),
        "probes": spec(np.int64, (1,)),
    }
    return matches(vars(partitions), specs)


def _values_fit(partitions: IVFArrays, n: int) -> bool:
    """Return whether each item has one place, and the other values are such that a search may trust them."""
    count, starts, order = len(partitions.centroids), partitions.block_starts, partitions.order
    items = order[order >= 0]
    finite = (
        partitions.bound_table, partitions.half_sq_norms, partitions.centroids, partitions.spreads,
        partitions.max_code_norms, partitions.axes, partitions.center, partitions.rounding,
    )  # fmt: skip
    return bool(
        count
        and starts[0] == 0
        and starts[-1] * simd.LANES == len(order)
        and (np.diff(starts) >= 0).all()
        and order.min() >= -1
        and len(items) == n
        and items.max() < n
        and (np.bincount(items, minlength=n) == 1).all()
        and 1 <= partitions.probes[0] <= count
        and all(np.isfinite(array).all() for array in finite)
    )
