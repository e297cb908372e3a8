"""The layout of vectors for the exact scan: their order, axes and int8 codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.index.arrays import check_consistent, take_fields
from segue.index.frame import Frame, principal_frame
from segue.index.segments import MAX_GROUPS, choose_first_segment, code_rows, norm_rows, segment_starts
from segue.kernels import scan, simd, threads, tiles
from segue.kernels.arrays import aligned

MIN_BAND, SIMILAR = 512, 0.95  # least items of a band, and least ratio of the norms within it
MIN_ITEMS = 1024  # fewer items are not rotated to principal axes
SAMPLED_QUERIES = 48  # queries that the segments are chosen by
TILES_PER_TASK = 64  # tiles that a thread takes at a time


@dataclass(frozen=True, eq=False)
class TileLayout:
    """Arrays for `kernels.scan.search`: t tiles of 256 items, s segments of dimensions.

    Attributes:
        codes: int8, in the order in which the scan reads them.
        order: (256 t,) int32, the item at each place, -1 at places without an item.
        bound_table: (t, 5 + 3 s) float32, the numbers of each tile that the bounds need.
        tile_means: (t, dim) float32, the mean of each tile, in the axes.
        segment_starts: (s + 1,) int64, where segments start, in groups of 4 dimensions.
        max_code_norms: (s, 2) float32, the largest norm of codes in the even and odd pairs of dimensions.
        axes: (dim, dim) float32, the principal axes as rows, or (0, 0).
        center: (dim,) float32, the mean, for a distance, or (0,).
        rounding: (1,) float64, the relative error of float32 sums and axes.
    """

    codes: np.ndarray
    order: np.ndarray
    bound_table: np.ndarray
    tile_means: np.ndarray
    segment_starts: np.ndarray
    max_code_norms: np.ndarray
    axes: np.ndarray
    center: np.ndarray
    rounding: np.ndarray


def restore_layout(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> TileLayout:
    """Return the layout among stored arrays; raise `DataError` if they do not fit vectors of this shape."""
    layout = take_fields(TileLayout, arrays)
    (n, dim), count = shape, len(layout.bound_table)
    starts, segments = layout.segment_starts.tolist(), len(layout.segment_starts) - 1
    check_consistent(
        count == -(-n // scan.TILE)
        and starts == sorted(set(starts))
        and (starts[0], starts[-1]) == (0, -(-dim // 4))
        and layout.codes.shape == (count * scan.ROW_BYTES * code_rows(dim, layout.segment_starts),)
        and layout.bound_table.shape == (count, scan.BOUNDS + 3 * segments)
        and layout.tile_means.shape == (count, dim)
        and layout.max_code_norms.shape == (segments, 2)
        and layout.axes.shape in ((0, 0), (dim, dim))
        and layout.center.shape in ((0,), (dim,))
        and np.array_equal(np.sort(layout.order[:n]), np.arange(n))
        and (layout.order[n:] == -1).all()
        and len(layout.order) == count * scan.TILE
    )
    return layout


def build_layout(vectors: np.ndarray, queries: np.ndarray, is_distance: bool) -> TileLayout:
    """Choose a layout for vectors.

    Args:
        vectors: (n, dim) float32, transformed for the metric.
        queries: (q, dim) float32, a sample of the queries to expect, or the vectors.
        is_distance: whether the metric is a distance.
    """
    n, dim = vectors.shape
    frame = principal_frame(vectors, center=is_distance, rotated=n >= MIN_ITEMS and 8 <= dim <= n // 8)
    order = _scan_order(frame.vectors)
    first = MAX_GROUPS
    if len(frame.axes):
        rows = np.linspace(0, len(queries) - 1, min(SAMPLED_QUERIES, len(queries))).astype(np.int64)
        sample = queries[rows] - frame.center if is_distance else queries[rows]
        first = choose_first_segment(frame.vectors, order, sample @ frame.axes.T, is_distance)
    return _encode(frame, order, segment_starts(dim, first), is_distance)


def _scan_order(vectors: np.ndarray) -> np.ndarray:
    """Return the items (n,) int32 by falling norm, and within bands of similar norm by direction."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    order = np.argsort(-norms, kind="stable").astype(np.int32)
    falling = norms[order]
    bands = [0]
    while bands[-1] < len(order):
        similar = int(np.searchsorted(-falling, -SIMILAR * falling[bands[-1]], side="right"))
        bands.append(min(len(order), max(similar, bands[-1] + MIN_BAND)))

    def work(start: int, stop: int) -> None:
        for band in range(start, stop):
            tiles.group_by_direction(vectors, order, bands[band], bands[band + 1], simd.LANES)

    threads.run(work, len(bands) - 1, chunk=1)
    return order


def _encode(frame: Frame, order: np.ndarray, starts: np.ndarray, is_distance: bool) -> TileLayout:
    """Write codes and bounds of all tiles."""
    vectors = frame.vectors
    (n, dim), count, segments = vectors.shape, -(-len(order) // scan.TILE), len(starts) - 1
    norms = norm_rows(dim, starts)
    codes = aligned((count * scan.ROW_BYTES * code_rows(dim, starts),), np.int8)
    table = np.empty((count, scan.BOUNDS + 3 * segments), np.float32)
    means = np.empty((count, dim), np.float32)
    code_norms = np.zeros((-(-count // TILES_PER_TASK), segments, 2), np.float32)

    def work(start: int, stop: int) -> None:
        largest = code_norms[start // TILES_PER_TASK]
        tiles.pack(vectors, order, starts, norms, start, stop, codes, table, means, largest)

    threads.run(work, count, chunk=TILES_PER_TASK)
    if is_distance:
        half_sq_norms = 0.5 * np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)[order]
        least = np.minimum.reduceat(half_sq_norms, np.arange(0, n, scan.TILE))
        table[:, scan.OFFSET] = least * (1 - 1e-6)
    table[:, scan.CEILING] = np.maximum.accumulate(table[::-1, scan.NORM])[::-1]
    places = np.full(count * scan.TILE, -1, np.int32)
    places[:n] = order
    rounding = np.array([frame.rounding])
    return TileLayout(
        codes, places, table, means, starts, code_norms.max(0), frame.axes, frame.center, rounding
    )
