"""The trees of a forest and the codes of its items as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.errors import SettingError
from segue.index.trees import Tree, grow_tree, grow_trees, leveling_coordinate, squared_norms
from segue.kernels import axes as axes_kernels
from segue.kernels import threads, trees
from segue.kernels.arrays import aligned, readonly
from segue.numerics.axes import principal_axes
from segue.progress import Progress

HEAD = 64  # dimensions that planes divide and that the first bound uses
LANE = 32  # codes are padded to a multiple of this width
SAMPLED = 20_000  # vectors that the axes are computed from
ENCODED = 16_384  # vectors encoded at a time
TREES_PER_REPORT = 4  # trees that each thread grows between two progress reports
MAX_LINKS = 2**31  # items and leaves of all trees that an int32 can number
ROTATED_PER_TASK = 256  # vectors that a thread rotates at a time
EPS = 2.0**-23
ERROR, ERROR_ALL, CODES, NORM, ROUNDING, LEAF = range(6)  # places in `limits`


@dataclass(frozen=True, eq=False)
class ForestArrays:
    """Trees over n items; an item's position is its place in the leaves of the first tree.

    Attributes:
        order: (n,) int32, the item at each position.
        center, axes: (dim,) and (dim, dim) float32: codes and planes are in the coordinates
            axes (x - center); either may be empty.
        codes: (n, width) int8, one code per dimension, padded with zeros.
        scales: (dim,) float32, the value of a code of 1.
        half_sq_norms: (n,) float32, half the squared length, for euclidean distance, or (0,).
        residual_norms: (n,) float32, the length beyond the first 64 dimensions, or (0,) if there are no more.
        limits: (6,) float64, maxima that the bounds need, see `kernels.forest.search`.
        nodes: (nodes, 4) int32: two links, and the bits of the plane's step and offset, or the number of the
            bit to split by.
        planes: (nodes, ≤ 64) int8.
        members: (total,) int32, the length and the positions of each leaf.
        roots: (trees,) int32 links.
    """

    order: np.ndarray
    center: np.ndarray
    axes: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    half_sq_norms: np.ndarray
    residual_norms: np.ndarray
    limits: np.ndarray
    nodes: np.ndarray
    planes: np.ndarray
    members: np.ndarray
    roots: np.ndarray

    def to_frame(self, queries: np.ndarray, metric: str) -> np.ndarray:
        """Return queries (q, dim) in the coordinates of codes and planes."""
        if metric == "hamming":
            return np.empty((len(queries), 0), np.float32)
        return _to_frame(queries, self.center, self.axes)


class ItemCodes(NamedTuple):
    """Codes of items by position, and the numbers that the bounds need; see `ForestArrays`."""

    codes: np.ndarray
    scales: np.ndarray
    half_sq_norms: np.ndarray
    residual_norms: np.ndarray
    limits: np.ndarray


def grow_forest(
    vectors: np.ndarray, metric: str, count: int, leaf: int, seed: int, progress: Progress
) -> ForestArrays:
    """Grow a forest.

    Args:
        vectors: (n, dim) float32 transformed for the metric, or (n, words) uint64 for hamming.
        metric: the name of the metric.
        count: number of trees.
        leaf: the most items of a leaf.
        seed: random seed of the first tree; each next tree adds 1.
        progress: called with the number of trees, as a share of the vectors.
    """
    n, no_values, no_matrix = len(vectors), np.empty(0, np.float32), np.empty((0, 0), np.float32)
    if count * n > MAX_LINKS // 2:
        raise SettingError(
            f"{count} trees over {n:,} vectors are too many; at most {MAX_LINKS // 2 // n} fit"
        )
    by_bits = metric == "hamming"
    if by_bits:
        center, axes, kind = no_values, no_matrix, trees.BITS
        head, words, coded = no_matrix, vectors, np.empty((n, 0), np.float32)
    else:
        center, axes = _choose_frame(vectors, metric)
        coded, words = _to_frame(vectors, center, axes), np.empty((0, 0), np.uint64)
        kind = trees.EUCLIDEAN if metric in ("euclidean", "manhattan") else trees.ANGULAR
        head = _head(coded, metric)
    squares = squared_norms(head)

    def grow(number: int) -> Tree:
        return _encode_planes(grow_tree(kind, head, squares, words, leaf, seed + number), coded.shape[1])

    forest: list[Tree] = []
    while len(forest) < count:
        progress("indexing", n * len(forest) // count, n)
        last = min(count, len(forest) + TREES_PER_REPORT * threads.available())
        forest += grow_trees(grow, range(len(forest), last))
    progress("indexing", n, n)
    order = forest[0].rows
    nodes, members, roots = _join(forest, order, by_bits)
    planes = aligned((len(nodes), forest[0].planes.shape[1]), np.int8)
    np.concatenate([tree.planes for tree in forest], out=planes)
    codes = _encode_items(coded, order, metric)
    codes.limits[LEAF] = min(leaf, n)
    return ForestArrays(order, center, axes, *codes, nodes, planes, members, roots)


def padded_width(dim: int) -> int:
    """Return the width of so many codes with padding."""
    return -(-dim // LANE) * LANE


def row_width(dim: int) -> int:
    """Return the width of a row of codes: whole cache lines if there are more dimensions than the head."""
    return padded_width(dim) if dim <= HEAD else -(-dim // HEAD) * HEAD


def _choose_frame(vectors: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the center and the axes of the coordinates in which vectors are encoded."""
    n, dim = vectors.shape
    center, axes = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    if metric in ("euclidean", "manhattan"):
        center = vectors.mean(0, dtype=np.float64).astype(np.float32)
    if dim > HEAD:
        sample = vectors[:: max(1, n // SAMPLED)]
        axes = np.ascontiguousarray(principal_axes(sample - center if len(center) else sample)[1].T)
    return center, axes


def _to_frame(vectors: np.ndarray, center: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return vectors (n, dim) in the coordinates axes (x - center)."""
    centered = vectors - center if len(center) else vectors
    if not len(axes):
        return centered
    rotated = np.empty_like(centered)
    threads.run(
        lambda first, last: axes_kernels.rotate(readonly(centered), readonly(axes), first, last, rotated),
        len(centered),
        chunk=ROTATED_PER_TASK,
    )
    return rotated


def _head(vectors: np.ndarray, metric: str) -> np.ndarray:
    """Return what trees divide: the first dimensions, and the leveling coordinate for inner products."""
    width = min(vectors.shape[1], HEAD)
    head = np.zeros((len(vectors), padded_width(width) + (LANE // 4 if metric == "dot" else 0)), np.float32)
    head[:, :width] = vectors[:, :width]
    if metric == "dot":
        head[:, -1] = leveling_coordinate(vectors)
    return head


def _encode_planes(tree: Tree, dim: int) -> Tree:
    """Return the tree with int8 planes, and with their steps beside the offsets."""
    width = padded_width(min(dim, HEAD))
    planes = tree.planes[:, :width]
    steps = np.abs(planes).max(1, initial=0) / 127
    codes = np.rint(planes / np.where(steps > 0, steps, 1)[:, None]).astype(np.int8)
    return tree._replace(planes=codes, offsets=np.column_stack([steps, tree.offsets]).astype(np.float32))


def _join(forest: list[Tree], order: np.ndarray, by_bits: bool) -> tuple[np.ndarray, ...]:
    """Return the nodes of all trees as one array, the lists of their leaves as another, and the roots."""
    n = len(order)
    positions = np.empty(n, np.int32)
    positions[order] = np.arange(n, dtype=np.int32)
    nodes = np.empty((sum(len(tree.bounds) for tree in forest), 4), np.int32)
    roots, lists, first_node, first_member = np.empty(len(forest), np.int32), [], 0, 0
    for number, tree in enumerate(forest):
        own = nodes[first_node : first_node + len(tree.bounds)]
        firsts = tree.bounds[:, :2]
        is_leaf = tree.links < 0
        starts = np.sort(firsts[is_leaf]) if len(own) else np.zeros(1, np.int32)
        counts = np.diff(starts, append=n)
        leaves = np.searchsorted(starts, firsts)
        own[:, :2] = np.where(is_leaf, ~(first_member + firsts + leaves), tree.links + first_node)
        own[:, 2:] = tree.offsets.view(np.int32)
        if by_bits:
            own[:, 2] = tree.offsets[:, 1]
        members = np.empty(n + len(starts), np.int32)
        members[starts + np.arange(len(starts))] = counts
        members[np.arange(n) + np.repeat(np.arange(len(starts)), counts) + 1] = positions[tree.rows]
        roots[number] = first_node if len(own) else ~first_member
        lists.append(members)
        first_node, first_member = first_node + len(own), first_member + len(members)
    return nodes, np.concatenate(lists), roots


def _encode_items(vectors: np.ndarray, order: np.ndarray, metric: str) -> ItemCodes:
    """Encode items (n, dim) by position."""
    n, dim = vectors.shape
    limits = np.zeros(6)
    no_values = np.empty(0, np.float32)
    if metric in ("manhattan", "hamming"):
        return ItemCodes(np.empty((n, 0), np.int8), no_values, no_values, no_values, limits)
    scales = np.maximum(np.abs(vectors).max(0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    codes = aligned((n, row_width(dim)), np.int8)
    squares, residual_norms = np.empty(n), np.empty(n if dim > HEAD else 0, np.float32)
    for start in range(0, n, ENCODED):
        stop = min(n, start + ENCODED)
        rows = vectors[order[start:stop]]
        rounded = np.rint(rows / scales)
        codes[start:stop, :dim] = rounded
        squares[start:stop] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        errors = (rows.astype(np.float64) - rounded * scales.astype(np.float64)) ** 2
        limits[ERROR] = max(limits[ERROR], errors[:, :HEAD].sum(1).max())
        limits[ERROR_ALL] = max(limits[ERROR_ALL], errors.sum(1).max())
        limits[CODES] = max(limits[CODES], (rounded**2).sum(1).max())
        if dim > HEAD:
            norms = np.linalg.norm(rows[:, HEAD:].astype(np.float64), axis=1)
            residual_norms[start:stop] = norms * (1 + 1e-6)
    limits[NORM] = squares.max()
    limits[:4] = np.sqrt(limits[:4]) * (1 + 1e-6)
    limits[ROUNDING] = 4 * (dim + 8) * EPS
    half_sq_norms = (squares / 2).astype(np.float32) if metric == "euclidean" else no_values
    return ItemCodes(codes, scales, half_sq_norms, residual_norms, limits)
