"""The nodes of an index in Annoy's format, in memory or in a mapped file."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from segue.compat.annoy.errors import IndexFileError
from segue.index.trees import Tree, grow_tree, leveling_coordinate, squared_norms
from segue.kernels import annoy, trees
from segue.kernels.arrays import readonly

kernels: Any = annoy  # called with unpacked tuples, whose lengths mypy cannot check
NO_WORDS = np.empty(0, np.uint64)
LARGEST = 2**31 - 1  # number of a node


class Shape(NamedTuple):
    """The layout of the nodes of a metric, in 4-byte words.

    Attributes:
        metric: number of the metric in `kernels.annoy`.
        size, lists, vector: size of a node, and offsets of its children and of its vector.
        width: length of a vector; for hamming, in uint64 words.
        capacity: maximum number of items in a leaf.
        kind: kind of the trees in `kernels.trees`.
    """

    metric: int
    size: int
    lists: int
    vector: int
    width: int
    capacity: int
    kind: int

    @property
    def kernel_arguments(self) -> tuple[int, ...]:
        """Return the arguments of kernels."""
        return self.size, self.lists, self.vector, self.width, self.capacity


METRICS = {  # metric, offsets of children and vector, kind of the trees
    "angular": (kernels.ANGULAR, 1, 3, trees.ANGULAR),
    "euclidean": (kernels.EUCLIDEAN, 2, 4, trees.EUCLIDEAN),
    "manhattan": (kernels.MANHATTAN, 2, 4, trees.MANHATTAN),
    "hamming": (kernels.HAMMING, 1, 4, trees.BITS),
    "dot": (kernels.DOT, 1, 4, trees.ANGULAR),
}


@lru_cache
def shape_of(metric: str, f: int) -> Shape:
    """Return the layout for vectors of f dimensions."""
    number, lists, vector, kind = METRICS[metric]
    width = -(-f // 64) if metric == "hamming" else f
    size = vector + (2 * width if metric == "hamming" else width)
    return Shape(number, size, lists, vector, width, size - lists, kind)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes as int32 words, with views of them that are created on first use."""

    ints: np.ndarray
    shape: Shape

    def __len__(self) -> int:
        return len(self.ints) // self.shape.size

    @cached_property
    def memory(self) -> memoryview:
        """Return the bytes."""
        return memoryview(self.ints.view(np.uint8))  # type: ignore[arg-type]

    @cached_property
    def floats(self) -> np.ndarray:
        """Return the words as float32."""
        return self.ints.view(np.float32)

    @cached_property
    def words(self) -> np.ndarray:
        """Return the words as uint64 for hamming, else an empty array."""
        return self.ints.view(np.uint64) if self.shape.kind == trees.BITS else NO_WORDS

    @cached_property
    def heads(self) -> np.ndarray:
        """Return the words before the vectors, (nodes, words) int32."""
        return self.ints.reshape(-1, self.shape.size)[:, : self.shape.vector]

    @cached_property
    def vectors(self) -> np.ndarray:
        """Return the vectors, (nodes, width), read-only: float32, or uint64 for hamming."""
        wide, scale = (self.words, 2) if self.shape.kind == trees.BITS else (self.floats, 1)
        return readonly(wide.reshape(-1, self.shape.size // scale)[:, self.shape.vector // scale :])

    @cached_property
    def kernel_arguments(self) -> tuple[Any, ...]:
        """Return the first arguments of reading kernels: metric, nodes as three types, layout."""
        shape = self.shape
        return (
            shape.metric,
            readonly(self.ints),
            readonly(self.floats),
            readonly(self.words),
            *shape.kernel_arguments,
        )


class LoadedIndex(NamedTuple):
    """The content of a checked file."""

    nodes: Nodes
    items: int
    roots: np.ndarray


def mapped(path: str, shape: Shape, prefault: bool) -> np.ndarray:
    """Map a file read-only as int32. Raises `IndexFileError` or another OSError."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(file).st_size
        if size == 0:
            raise IndexFileError(f"{path!r} is not an index of Annoy: Size of file is zero")
        if size % (4 * shape.size):
            raise IndexFileError(
                f"{path!r} has {size:,} bytes: Index size is not a multiple of vector size, "
                f"{4 * shape.size}. Open it "
                "with its number of dimensions and its metric; if these are right, the file is truncated"
            )
        if hasattr(mmap, "MAP_POPULATE"):
            flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if prefault else 0)
            return np.frombuffer(mmap.mmap(file, size, flags, mmap.PROT_READ), np.int32)
        return np.frombuffer(mmap.mmap(file, size, access=mmap.ACCESS_READ), np.int32)
    finally:
        os.close(file)


def checked(data: np.ndarray, shape: Shape, name: str) -> LoadedIndex:
    """Find the items and roots among nodes as Annoy does. Raises `IndexFileError` for invalid nodes."""
    nodes = Nodes(data, shape)
    count = len(nodes)
    items = int(data[(count - 1) * shape.size])
    if count > LARGEST or not 0 <= items < count:
        raise IndexFileError(
            f"{name} holds {count:,} nodes, and its last one spans {items:,} items; {DAMAGED}"
        )
    spanning = np.empty(count - items, np.int32)
    found = kernels.check(
        shape.metric,
        nodes.kernel_arguments[1],
        nodes.kernel_arguments[3],
        *shape.kernel_arguments,
        items,
        spanning,
    )
    if found < 0:
        raise IndexFileError(
            f"{name} holds a node, number {-1 - found:,}, that Annoy does not write; {DAMAGED}"
        )
    half = found // 2
    originals, copies = spanning[:half], spanning[half:found]
    splits = nodes.heads[:, shape.lists : shape.lists + 2]
    ordered = copies[0] == count - half if half else False
    if found % 2 or not ordered or not _same_rows(splits[originals], splits[copies]):
        raise IndexFileError(f"{name} does not end with a copy of each of its roots; {DAMAGED}")
    return LoadedIndex(nodes, items, _roots(data, shape, items))


DAMAGED = "it was cut or damaged, or made with another metric or number of dimensions"


def _same_rows(some: np.ndarray, others: np.ndarray) -> bool:
    if np.array_equal(some, others):
        return True
    keys = [np.sort(rows[:, 0].astype(np.int64) << 32 | rows[:, 1]) for rows in (some, others)]
    return np.array_equal(keys[0], keys[1])


def _roots(data: np.ndarray, shape: Shape, items: int) -> np.ndarray:
    """Return the roots: the last nodes that span as many items as the last one, each once."""
    below = data[:: shape.size][::-1]
    others = np.flatnonzero(below != items) if len(below) < BLOCK else _first_other(below, items)
    count = int(others[0]) if len(others) else len(below)
    roots = np.arange(len(below) - 1, len(below) - 1 - count, -1, dtype=np.int32)
    front, back = roots[0] * shape.size + shape.lists, roots[-1] * shape.size + shape.lists
    return roots[:-1] if count > 1 and data[front] == data[back] else roots


BLOCK = 4096


def _first_other(below: np.ndarray, items: int) -> np.ndarray:
    for start in range(0, len(below), BLOCK):
        others = np.flatnonzero(below[start : start + BLOCK] != items)
        if len(others):
            return others + start
    return np.empty(0, np.int64)


class TreeSource(NamedTuple):
    """The items for building trees: their numbers, vectors, squared lengths or words of bits."""

    present: np.ndarray
    vectors: np.ndarray
    squares: np.ndarray
    words: np.ndarray


def tree_source(nodes: Nodes, shape: Shape, items: int) -> TreeSource:
    """Return the items that were added; write the lengths that Annoy stores in their nodes."""
    kernels.prepare(shape.metric, nodes.ints, nodes.floats, shape.size, shape.vector, shape.width, 0, items)
    heads = nodes.heads[:items]
    present = np.flatnonzero(heads[:, 0] == 1).astype(np.int32)
    vectors = np.ascontiguousarray(nodes.vectors[present])
    if shape.kind == trees.BITS:
        return TreeSource(present, np.empty((0, 0), np.float32), np.empty(0, np.float32), vectors)
    if shape.metric == kernels.DOT:
        lengths = heads.view(np.float32)[:, 3].copy()
        heads.view(np.float32)[:, 3] = np.sqrt(np.maximum(lengths.max(initial=0) ** 2 - lengths**2, 0))
        vectors = np.column_stack([vectors, leveling_coordinate(vectors)])
    return TreeSource(present, vectors, squared_norms(vectors), np.empty((0, 0), np.uint64))


def grow(source: TreeSource, shape: Shape, items: int, seed: int) -> Tree:
    """Build one tree as Annoy does for `items` item numbers."""
    split_root = items > shape.capacity
    return grow_tree(
        shape.kind, source.vectors, source.squares, source.words, shape.capacity, seed % 2**64, split_root
    )


def node_count(tree: Tree) -> int:
    """Return the number of nodes that a tree is written to."""
    if not len(tree.bounds):
        return 1
    return len(tree.bounds) + int(((tree.links < 0) & (np.diff(tree.bounds, axis=1) > 1)).sum())


def write_tree(nodes: Nodes, shape: Shape, items: int, base: int, source: TreeSource, tree: Tree) -> int:
    """Write a tree from the node `base` on, its root last; return the number of the next node."""
    return int(
        kernels.write(
            shape.metric,
            nodes.ints,
            nodes.floats,
            nodes.words,
            *shape.kernel_arguments,
            items,
            base,
            source.present,
            *tree,
        )
    )
