"""The trees of a forest as flat arrays, and the codes of the items: planted, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from segue.errors import DataError, SettingError
from segue.kernels import axes as axes_kernels
from segue.kernels import forest, threads, trees
from segue.kernels.arrays import aligned, readonly
from segue.numerics.axes import principal_axes
from segue.progress import Progress

HEAD = 64  # dimensions that planes divide, and of which a first bound is made
LANE = 32  # to a multiple of which codes are filled up
SAMPLE = 20_000  # vectors from which the axes come
STEPS = 200  # items that two means are made of
PART = 16_384  # vectors that are coded at a time
ROUNDS = 4  # trees that each thread grows between two words of progress
LEVELLED = 0.95  # the share of vectors that are brought to one length
LINKS = 2**31  # that an int32 can number: items and leaves of all trees
TURNED = 256  # vectors that a thread turns at a time
EPS = 2.0**-23
ERROR, ERROR_ALL, CODES, NORM, ROUNDING, LEAF = range(6)  # of `limits`


@dataclass(frozen=True, eq=False)
class ForestArrays:
    """Trees over n items, whose positions are their order in the first tree's leaves.

    Attributes:
        order: (n,) int32, the item at each position.
        centre, axes: (dim,) and (dim, dim) float32: codes and planes are of axes (x - centre); either may be
            empty.
        codes: (n, ·) int8, one for each such dimension, filled up with zeros.
        scales: (dim,) float32, what a code of 1 stands for.
        offsets: (n,) float32, half the squared length, for euclidean distance.
        tails: (n,) float32, the length beyond the first 64 dimensions, if there are more.
        limits: (6,) float64, the largest of what bounds need, see `kernels.forest.search`.
        nodes: (nodes, 4) int32, two links, and the bits of the plane's step and offset, or the bit that
            divides.
        planes: (nodes, 64) int8 or fewer.
        members: (·,) int32, for each leaf its length and its positions.
        roots: (trees,) int32 links.
    """

    order: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray
    tails: np.ndarray
    limits: np.ndarray
    nodes: np.ndarray
    planes: np.ndarray
    members: np.ndarray
    roots: np.ndarray

    def placed(self, vectors: np.ndarray, metric: str) -> np.ndarray:
        """Queries (q, dim) as the codes and planes want them."""
        if metric == "hamming":
            return np.empty((len(vectors), 0), np.float32)
        return _placed(vectors, self.centre, self.axes)


class Tree(NamedTuple):
    """A tree as `kernels.trees.grow` fills it: rows in the order of the leaves, nodes from the root down."""

    rows: np.ndarray
    planes: np.ndarray
    offsets: np.ndarray
    bounds: np.ndarray
    links: np.ndarray


def _placed(vectors: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> np.ndarray:
    placed = vectors - centre if len(centre) else vectors
    if len(axes):
        out, straight = np.empty_like(placed), placed
        threads.run(
            lambda first, last: axes_kernels.rotate(readonly(straight), readonly(axes), first, last, out),
            len(placed),
            chunk=TURNED,
        )
        return out
    return placed


def grow_tree(
    kind: int,
    vectors: np.ndarray,
    squares: np.ndarray,
    words: np.ndarray,
    leaf: int,
    seed: int,
    split_root: bool = False,
) -> Tree:
    """Grow one tree; the same seed gives the same tree."""
    n, dim = max(len(vectors), len(words)), vectors.shape[1]
    room = 4 * n // leaf + 64
    while True:
        tree = Tree(
            np.arange(n, dtype=np.int32), np.empty((room, dim), np.float32), np.empty(room, np.float32),
            np.empty((room, 3), np.int32), np.empty((room, 2), np.int32),
        )  # fmt: skip
        count = trees.grow(
            kind,
            readonly(vectors),
            readonly(squares),
            readonly(words),
            leaf,
            STEPS,
            split_root,
            np.uint64(seed),
            *tree,
        )
        if count >= 0:
            return Tree(tree.rows, *(array[:count] for array in tree[1:]))
        room = min(2 * room, n)


def grown_together(grow: Callable[[int], Tree], numbers: range, workers: int | None = None) -> list[Tree]:
    """Grow trees by their numbers, on several threads."""
    grown: dict[int, Tree] = {}

    def work(start: int, stop: int) -> None:
        for number in numbers[start:stop]:
            grown[number] = grow(number)

    threads.run(work, len(numbers), chunk=1, threads=workers)
    return [grown[number] for number in numbers]


def squares_of(vectors: np.ndarray) -> np.ndarray:
    """The squared lengths (n,) float32 of vectors (n, dim)."""
    squares = np.empty(len(vectors), np.float32)
    threads.run(lambda start, stop: trees.square(readonly(vectors), start, stop, squares), len(vectors))
    return squares


def grow_forest(
    vectors: np.ndarray, metric: str, count: int, leaf: int, seed: int, progress: Progress
) -> ForestArrays:
    """Grow `count` trees over vectors (n, dim), which have been turned for their metric."""
    n, nothing = len(vectors), np.empty(0, np.float32)
    if count * n > LINKS // 2:
        raise SettingError(f"{count} trees over {n:,} vectors are too many; at most {LINKS // 2 // n} fit")
    by_bits = metric == "hamming"
    if by_bits:
        centre, axes, kind = nothing, np.empty((0, 0), np.float32), trees.BITS
        head, words, placed = np.empty((0, 0), np.float32), vectors, np.empty((n, 0), np.float32)
    else:
        centre, axes = _frame(vectors, metric)
        placed, words = _placed(vectors, centre, axes), np.empty((0, 0), np.uint64)
        kind = trees.EUCLIDEAN if metric in ("euclidean", "manhattan") else trees.ANGULAR
        head = _head(placed, metric)
    squares = squares_of(head)

    def grow(number: int) -> Tree:
        return _coded(grow_tree(kind, head, squares, words, leaf, seed + number), placed.shape[1])

    grown: list[Tree] = []
    while len(grown) < count:
        progress("indexing", n * len(grown) // count, n)
        last = min(count, len(grown) + ROUNDS * threads.available())
        grown += grown_together(grow, range(len(grown), last))
    progress("indexing", n, n)
    order = grown[0].rows
    nodes, members, roots = _joined(grown, order, by_bits, leaf)
    planes = aligned((len(nodes), grown[0].planes.shape[1]), np.int8)
    np.concatenate([tree.planes for tree in grown], out=planes)
    codes, scales, offsets, tails, limits = _codes(placed, order, metric)
    limits[LEAF] = min(leaf, n)
    return ForestArrays(
        order, centre, axes, codes, scales, offsets, tails, limits, nodes, planes, members, roots
    )


def _frame(vectors: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the axes in which vectors are coded."""
    n, dim = vectors.shape
    centre, axes = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    if metric in ("euclidean", "manhattan"):
        centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    if dim > HEAD:
        sample = vectors[:: max(1, n // SAMPLE)]
        axes = np.ascontiguousarray(principal_axes(sample - centre if len(centre) else sample)[1].T)
    return centre, axes


def _head(placed: np.ndarray, metric: str) -> np.ndarray:
    """What trees divide: the first dimensions, and for inner products one more."""
    width = min(placed.shape[1], HEAD)
    head = np.zeros((len(placed), _filled(width) + (LANE // 4 if metric == "dot" else 0)), np.float32)
    head[:, :width] = placed[:, :width]
    if metric == "dot":
        head[:, -1] = levelling(placed)
    return head


def levelling(vectors: np.ndarray) -> np.ndarray:
    """The coordinate (n,) that brings vectors (n, dim) to one length; a query's is 0.

    It keeps the order of inner products (Bachrach et al., 2014). But where a few are far longer than the
    rest, it makes all the rest alike; so these keep their length, and trees see their direction only.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    level = np.quantile(squares, LEVELLED) if len(squares) else 0
    lacking: np.ndarray = np.sqrt(np.maximum(level - squares, 0)).astype(np.float32)
    return lacking


def _filled(width: int) -> int:
    """The width of codes of so many dimensions."""
    return -(-width // LANE) * LANE


def _whole(dim: int) -> int:
    """The width of a row of codes, whole cache lines where there is more than the head."""
    return _filled(dim) if dim <= HEAD else -(-dim // HEAD) * HEAD


def _coded(tree: Tree, dim: int) -> Tree:
    """The tree with planes as int8, and beside their offsets the steps of these."""
    width = _filled(min(dim, HEAD))
    planes = tree.planes[:, :width]
    steps = np.abs(planes).max(1, initial=0) / 127
    codes = np.rint(planes / np.where(steps > 0, steps, 1)[:, None]).astype(np.int8)
    return tree._replace(planes=codes, offsets=np.column_stack([steps, tree.offsets]).astype(np.float32))


def _joined(grown: list[Tree], order: np.ndarray, by_bits: bool, leaf: int) -> tuple[np.ndarray, ...]:
    """The nodes of all trees as one array, the lists of their leaves as another, and the roots."""
    n = len(order)
    positions = np.empty(n, np.int32)
    positions[order] = np.arange(n, dtype=np.int32)
    nodes = np.empty((sum(len(tree.bounds) for tree in grown), 4), np.int32)
    roots, lists, base, begun = np.empty(len(grown), np.int32), [], 0, 0
    for number, tree in enumerate(grown):
        own = nodes[base : base + len(tree.bounds)]
        firsts = tree.bounds[:, :2]
        ends = tree.links < 0
        begins = np.sort(firsts[ends]) if len(own) else np.zeros(1, np.int32)
        counts = np.diff(begins, append=n)
        leaves = np.searchsorted(begins, firsts)
        own[:, :2] = np.where(ends, ~(begun + firsts + leaves), tree.links + base)
        own[:, 2:] = tree.offsets.view(np.int32)
        if by_bits:
            own[:, 2] = tree.offsets[:, 1]
        kept = np.empty(n + len(begins), np.int32)
        kept[begins + np.arange(len(begins))] = counts
        kept[np.arange(n) + np.repeat(np.arange(len(begins)), counts) + 1] = positions[tree.rows]
        roots[number] = base if len(own) else ~begun
        lists.append(kept)
        base, begun = base + len(own), begun + len(kept)
    return nodes, np.concatenate(lists), roots


def _codes(placed: np.ndarray, order: np.ndarray, metric: str) -> tuple[np.ndarray, ...]:
    """Codes of the items by position, their scales, offsets and tails, and the limits of what bounds need."""
    n, dim = placed.shape
    limits = np.zeros(6)
    nothing = np.empty(0, np.float32)
    if metric in ("manhattan", "hamming"):
        return np.empty((n, 0), np.int8), nothing, nothing, nothing, limits
    scales = np.maximum(np.abs(placed).max(0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    codes = aligned((n, _whole(dim)), np.int8)
    squares, tails = np.empty(n), np.empty(n if dim > HEAD else 0, np.float32)

    def work(start: int, stop: int) -> None:
        rows = placed[order[start:stop]]
        made = np.rint(rows / scales)
        codes[start:stop, :dim] = made
        squares[start:stop] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        wrong = (rows.astype(np.float64) - made * scales.astype(np.float64)) ** 2
        limits[ERROR] = max(limits[ERROR], wrong[:, :HEAD].sum(1).max())
        limits[ERROR_ALL] = max(limits[ERROR_ALL], wrong.sum(1).max())
        limits[CODES] = max(limits[CODES], (made**2).sum(1).max())
        if dim > HEAD:
            tails[start:stop] = np.linalg.norm(rows[:, HEAD:].astype(np.float64), axis=1) * (1 + 1e-6)

    for start in range(0, n, PART):
        work(start, min(n, start + PART))
    limits[NORM] = squares.max()
    limits[:4] = np.sqrt(limits[:4]) * (1 + 1e-6)
    limits[ROUNDING] = 4 * (dim + 8) * EPS
    offsets = (squares / 2).astype(np.float32) if metric == "euclidean" else nothing
    return codes, scales, offsets, tails, limits


def grove_of(arrays: Mapping[str, np.ndarray], vectors: np.ndarray, metric: str) -> ForestArrays:
    """The trees among the arrays of an index of `vectors`; a `DataError` if they do not fit.

    Every link and every position is looked at, so that no search can leave the arrays or go round in them.
    """
    given = {field.name: arrays.get(field.name) for field in fields(ForestArrays)}
    missing = [name for name, array in given.items() if array is None]
    if missing:
        raise DataError(f"the index lacks the arrays {', '.join(missing)}; build it again from its vectors")
    grove = ForestArrays(**{name: array for name, array in given.items() if array is not None})
    by_bits, dim = metric == "hamming", vectors.shape[1]
    shapes = all(
        array.dtype == kind and array.shape in allowed
        for (array, kind), allowed in zip(_kinds(grove), _shapes(grove, vectors.shape, metric), strict=True)
    )
    if not shapes or not _holds(grove, len(vectors), dim if by_bits else 0):
        raise DataError("the index's arrays do not fit together; build it again from its vectors")
    return grove


def _kinds(grove: ForestArrays) -> list[tuple[np.ndarray, type]]:
    """Each array, and the type it must be of."""
    kinds = {"order": np.int32, "codes": np.int8, "limits": np.float64, "nodes": np.int32, "planes": np.int8}
    kinds |= {"members": np.int32, "roots": np.int32}
    return [(array, kinds.get(name, np.float32)) for name, array in vars(grove).items()]


def _shapes(grove: ForestArrays, shape: tuple[int, ...], metric: str) -> list[tuple[tuple[int, ...], ...]]:
    """The shapes that each array may have."""
    (n, dim), coded = shape, metric not in ("manhattan", "hamming")
    head = _filled(min(dim, HEAD)) if metric != "hamming" else 0
    whole = _whole(dim) if coded else 0
    distance, long = metric in ("euclidean", "manhattan"), dim > HEAD and metric != "hamming"
    one = [
        (n,),
        (dim,) if distance else (0,),
        (dim, dim) if long else (0, 0),
        (n, whole),
        (dim,) if coded else (0,),
        (n,) if metric == "euclidean" else (0,),
        (n,) if long and coded else (0,),
        (6,),
        (len(grove.planes), 4),
        (len(grove.nodes), head),
        (grove.members.size,),
        (max(1, grove.roots.size),),
    ]
    return [(each,) for each in one]


def _holds(grove: ForestArrays, n: int, words: int) -> bool:
    """Whether the values of the arrays are such as a search may trust."""
    seen = np.zeros(n, bool)
    inside = (grove.order >= 0) & (grove.order < n)
    seen[grove.order[inside]] = True
    numbers = (grove.centre, grove.axes, grove.scales, grove.limits)
    if not seen.all() or not all(np.isfinite(array).all() for array in numbers):
        return False
    sound: Any = forest.sound
    leaf = grove.limits[LEAF]
    if not 1 <= leaf <= n or leaf != int(leaf):
        return False
    return bool(sound(*map(readonly, (grove.nodes, grove.members, grove.roots)), n, int(leaf), 64 * words))
