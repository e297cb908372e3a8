"""The layout of vectors for the exact scan: in what order, in which axes, and as which codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from segue.errors import DataError
from segue.kernels import scan, simd, threads, tiles
from segue.kernels.arrays import aligned
from segue.numerics.axes import principal_axes, rotate

BAND, LIKE = 512, 0.95  # items at least, and norms, of a band in which direction decides the order
LEAST = 1024  # fewer items are not worth axes of their own
FIRST = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)  # groups of 4 dimensions that the first segment may have
CHECK, GROUP = 10.0, 1.8  # cycles for a query and a block of 16 items, and for each group of dimensions
AGAIN, GROUP_AGAIN = 60.0, 5.0  # the same for the segments after the first
TYPICAL_K, COMPARED = 10, 100_000  # the k that is asked for, and the items that its score is estimated from
SAMPLE = 48  # queries by which it is chosen
SAMPLED = 64  # shelves on which it is chosen
WHOLE = 16  # groups of 4 dimensions at most, that one segment's sums can hold
CHUNK = 64  # shelves that a thread takes at a time
LOOSE = np.float32(0.01)  # what int8 codes add to a bound, as a part of |q| |x|
EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class Layout:
    """Arrays for `kernels.scan.search`: b shelves of 256 items, s segments of dimensions.

    Attributes:
        codes: int8, in the order that the scan reads them.
        order: (256 b,) int32, the id of each place, -1 where there is none.
        table: (b, 5 + 3 s) float32, what the bounds need of each shelf.
        means: (b, dim) float32, the mean of each shelf, in the axes.
        cuts: (s + 1,) int64, where segments begin, in groups of 4 dimensions.
        widest: (s, 2) float32, the largest norm of codes in the even and odd pairs of dimensions.
        axes: (dim, dim) float32, the principal axes as rows, or (0, 0).
        centre: (dim,) float32, the mean, for a distance, or (0,).
        rounding: (1,) float64, the relative error of float32 sums and axes.
    """

    codes: np.ndarray
    order: np.ndarray
    table: np.ndarray
    means: np.ndarray
    cuts: np.ndarray
    widest: np.ndarray
    axes: np.ndarray
    centre: np.ndarray
    rounding: np.ndarray


def layout_of(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Layout:
    """The layout among the arrays of an index of vectors (n, dim); a `DataError` if they do not fit."""
    given = {field.name: arrays.get(field.name) for field in fields(Layout)}
    missing = [name for name, array in given.items() if array is None]
    if missing:
        raise DataError(f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors")
    layout = Layout(**{name: array for name, array in given.items() if array is not None})
    (n, dim), count, segments = shape, len(layout.table), len(layout.cuts) - 1
    cuts = layout.cuts.tolist()
    fits = (
        count == -(-n // scan.TILE)
        and cuts == sorted(set(cuts))
        and (cuts[0], cuts[-1]) == (0, -(-dim // 4))
        and layout.codes.shape == (count * scan.ROW_BYTES * _lines(dim, layout.cuts),)
        and layout.table.shape == (count, scan.BOUNDS + 3 * segments)
        and layout.means.shape == (count, dim)
        and layout.widest.shape == (segments, 2)
        and layout.axes.shape in ((0, 0), (dim, dim))
        and layout.centre.shape in ((0,), (dim,))
        and np.array_equal(np.sort(layout.order[:n]), np.arange(n))
        and (layout.order[n:] == -1).all()
        and len(layout.order) == count * scan.TILE
    )
    if not fits:
        raise DataError("the index's arrays do not fit together; build it again from its vectors")
    return layout


def lay_out(vectors: np.ndarray, queries: np.ndarray, is_distance: bool) -> Layout:
    """Choose a layout for vectors (n, dim) float32, given a sample of queries (q, dim) or the vectors."""
    n, dim = vectors.shape
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32) if is_distance else np.empty(0, np.float32)
    placed = vectors - centre if is_distance else vectors
    axes = np.empty((0, 0), np.float32)
    rounding = 2 * (dim + 8) * EPS
    if n >= LEAST and 8 <= dim <= n // 8:
        axes = np.ascontiguousarray(principal_axes(placed)[1].T)
        defect = np.linalg.norm(axes.astype(np.float64).T @ axes - np.eye(dim))
        rounding += 2 * (dim / 4 + 16) * EPS * np.sqrt(dim) + 2 * float(defect)
        placed, straight = np.empty_like(placed), placed
        rotate(straight, np.ascontiguousarray(axes.T), placed)
    order = _ordered(placed)
    sample = queries[np.linspace(0, len(queries) - 1, min(SAMPLE, len(queries))).astype(np.int64)]
    if is_distance:
        sample = sample - centre
    cuts = _cuts(dim, _first_segment(placed, order, sample @ axes.T, is_distance) if len(axes) else WHOLE)
    return _packed(placed, order, cuts, axes, centre, rounding, is_distance)


def _ordered(placed: np.ndarray) -> np.ndarray:
    """The ids by falling norm, and in bands of like norm by direction: (n,) int32."""
    lengths = np.sqrt(np.einsum("ij,ij->i", placed, placed, dtype=np.float64))
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    falling = lengths[order]
    bands = [0]
    while bands[-1] < len(order):
        like = int(np.searchsorted(-falling, -LIKE * falling[bands[-1]], side="right"))
        bands.append(min(len(order), max(like, bands[-1] + BAND)))

    def work(start: int, stop: int) -> None:
        for band in range(start, stop):
            tiles.group_by_direction(placed, order, bands[band], bands[band + 1], simd.LANES)

    threads.run(work, len(bands) - 1, chunk=1)
    return order


def _cuts(dim: int, first: int) -> np.ndarray:
    """Where segments begin, in groups of 4 dimensions."""
    groups = -(-dim // 4)
    first = min(first, groups)
    parts = -(-(groups - first) // WHOLE)
    rest = first + np.round(np.linspace(0, groups - first, parts + 1)).astype(np.int64)
    return np.concatenate([[0], rest])


def _tails(dim: int, cuts: np.ndarray) -> int:
    """How many lines of codes hold the lengths beyond the first segment, if there are others."""
    return 0 if len(cuts) == 2 else _parts(dim) // 4


def _parts(dim: int) -> int:
    """In how many parts the dimensions beyond the first segment are divided, four to a line."""
    return 4 * max(1, dim // 256)


def _lines(dim: int, cuts: np.ndarray) -> int:
    """How many lines of codes a shelf has: groups of dimensions, tails, and where segments start from."""
    return int(cuts[-1]) + _tails(dim, cuts) + len(cuts) - 1


def _first_segment(placed: np.ndarray, order: np.ndarray, sample: np.ndarray, is_distance: bool) -> int:
    """How many groups of dimensions to sum for all items: few sums for all, or few items for the others.

    Counts, for a sample of queries and of shelves, the blocks that are still alive after some dimensions
    if the query's k-th best score is known, and weighs them with the processor cycles that each step takes.
    """
    groups = -(-placed.shape[1] // 4)
    firsts = np.array([first for first in FIRST if first < groups] + [groups])
    halves = 0.5 * np.einsum("ij,ij->i", placed, placed) if is_distance else np.zeros(len(placed), np.float32)
    step = -(-len(placed) // COMPARED)
    scores = sample @ placed[::step].T - halves[::step]
    best = max(1, round(TYPICAL_K / step))
    goals = np.partition(scores, -best, axis=1)[:, -best]
    count = -(-len(order) // scan.TILE)
    drawn = np.unique(np.linspace(0, count - 1, SAMPLED).astype(np.int64))
    places = (drawn[:, None] * scan.TILE + np.arange(scan.TILE)).reshape(-1)
    chosen = order[np.minimum(places, len(order) - 1)]
    alive = _alive(placed[chosen], halves[chosen], sample, goals, 4 * firsts)
    best, least = WHOLE, np.inf
    for first in firsts[firsts <= WHOLE]:
        cuts = _cuts(placed.shape[1], int(first))
        left = np.interp(cuts[1:-1], firsts, alive[:-1])
        tails = _tails(placed.shape[1], cuts)
        widths = np.diff(cuts)[1:] + tails
        cost = alive[-1] * (CHECK + GROUP * (first + tails)) + (left * (AGAIN + GROUP_AGAIN * widths)).sum()
        if cost < least:
            best, least = int(first), cost
    return best


def _alive(
    items: np.ndarray, halves: np.ndarray, queries: np.ndarray, goals: np.ndarray, cuts: np.ndarray
) -> np.ndarray:
    """How many blocks of items a bound after each of the cuts leaves, and at last how many norms leave."""
    sizes, lengths = np.linalg.norm(queries, axis=1)[:, None], np.linalg.norm(items, axis=1)
    offsets = halves.reshape(-1, simd.LANES).min(1)
    wanted = (goals[:, None] + offsets).repeat(simd.LANES, axis=1) - LOOSE * sizes * lengths
    left = (sizes * lengths >= wanted).reshape(len(queries), -1, simd.LANES).any(2)
    alive = np.zeros(len(cuts) + 1, np.int64)
    alive[-1] = left.sum()
    heads, before = np.zeros(wanted.shape, np.float32), 0
    for number, cut in enumerate(cuts):
        heads += queries[:, before:cut] @ items[:, before:cut].T
        may = (heads + _beyond(queries, items, cut) >= wanted).reshape(len(queries), -1, simd.LANES).any(2)
        alive[number], before = (left & may).sum(), cut
    return alive


def _beyond(queries: np.ndarray, items: np.ndarray, cut: int) -> np.ndarray:
    """The most that the dimensions from a cut on can add, by the lengths of the parts that tails hold."""
    dim = queries.shape[1]
    parts = _parts(dim)
    edges = [cut + (dim - cut) * part // parts for part in range(parts + 1)]
    lengths = [
        np.stack([np.linalg.norm(side[:, start:stop], axis=1) for start, stop in pairwise(edges)])
        for side in (queries, items)
    ]
    return np.asarray(lengths[0].T @ lengths[1])


def _packed(
    placed: np.ndarray,
    order: np.ndarray,
    cuts: np.ndarray,
    axes: np.ndarray,
    centre: np.ndarray,
    rounding: float,
    is_distance: bool,
) -> Layout:
    (n, dim), count, segments = placed.shape, -(-len(order) // scan.TILE), len(cuts) - 1
    tails = _tails(dim, cuts)
    codes = aligned((count * scan.ROW_BYTES * _lines(dim, cuts),), np.int8)
    table = np.empty((count, scan.BOUNDS + 3 * segments), np.float32)
    means = np.empty((count, dim), np.float32)
    widest = np.zeros((-(-count // CHUNK), segments, 2), np.float32)

    def work(start: int, stop: int) -> None:
        tiles.pack(placed, order, cuts, tails, start, stop, codes, table, means, widest[start // CHUNK])

    threads.run(work, count, chunk=CHUNK)
    if is_distance:
        halves = 0.5 * np.einsum("ij,ij->i", placed, placed, dtype=np.float64)[order]
        table[:, scan.OFFSET] = np.minimum.reduceat(halves, np.arange(0, n, scan.TILE)) * (1 - 1e-6)
    table[:, scan.CEILING] = np.maximum.accumulate(table[::-1, scan.NORM])[::-1]
    filled = np.full(count * scan.TILE, -1, np.int32)
    filled[:n] = order
    return Layout(codes, filled, table, means, cuts, widest.max(0), axes, centre, np.array([rounding]))
