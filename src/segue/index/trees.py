"""Random trees over vectors, as flat arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from segue.kernels import threads, trees
from segue.kernels.arrays import readonly

TWO_MEANS_STEPS = 200  # items that the two means of a split are computed from
LEVEL_SHARE = 0.95  # the share of vectors that are brought to the same length


class Tree(NamedTuple):
    """A tree as `kernels.trees.grow` fills it: rows in the order of the leaves, nodes from the root down."""

    rows: np.ndarray
    planes: np.ndarray
    offsets: np.ndarray
    bounds: np.ndarray
    links: np.ndarray


def grow_tree(
    kind: int,
    vectors: np.ndarray,
    squares: np.ndarray,
    words: np.ndarray,
    leaf: int,
    seed: int,
    split_root: bool = False,
) -> Tree:
    """Grow one tree; the same seed gives the same tree.

    Args:
        kind: how to split, as `kernels.trees` numbers it.
        vectors: (n, dim) float32; empty if the tree splits by bits.
        squares: (n,) float32, the squared lengths of the vectors.
        words: (n, words) uint64; empty unless the tree splits by bits.
        leaf: the most rows of a leaf.
        seed: random seed of the splits.
        split_root: split the root even if it fits in a leaf.
    """
    n, dim = max(len(vectors), len(words)), vectors.shape[1]
    capacity = 4 * n // leaf + 64
    inputs = readonly(vectors), readonly(squares), readonly(words)
    while True:
        tree = Tree(
            np.arange(n, dtype=np.int32), np.empty((capacity, dim), np.float32),
            np.empty(capacity, np.float32), np.empty((capacity, 3), np.int32),
            np.empty((capacity, 2), np.int32),
        )  # fmt: skip
        count = trees.grow(kind, *inputs, leaf, TWO_MEANS_STEPS, split_root, np.uint64(seed), *tree)
        if count >= 0:
            return Tree(tree.rows, *(array[:count] for array in tree[1:]))
        capacity = min(2 * capacity, n)


def grow_trees(grow: Callable[[int], Tree], numbers: range, workers: int | None = None) -> list[Tree]:
    """Grow the trees with these numbers on several threads."""
    grown: dict[int, Tree] = {}

    def work(start: int, stop: int) -> None:
        for number in numbers[start:stop]:
            grown[number] = grow(number)

    threads.run(work, len(numbers), chunk=1, threads=workers)
    return [grown[number] for number in numbers]


def squared_norms(vectors: np.ndarray) -> np.ndarray:
    """Return the squared lengths (n,) float32 of vectors (n, dim)."""
    squares = np.empty(len(vectors), np.float32)
    threads.run(lambda start, stop: trees.square(readonly(vectors), start, stop, squares), len(vectors))
    return squares


def leveling_coordinate(vectors: np.ndarray) -> np.ndarray:
    """Return the extra coordinate (n,) float32 that gives vectors (n, dim) the same length; a query's is 0.

    The extra coordinate preserves the order of inner products (Bachrach et al., 2014). If a few vectors are
    far longer than the rest, it would make the rest alike; so the longest 5 % keep their length, and trees
    see only their direction.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    level = np.quantile(squares, LEVEL_SHARE) if len(squares) else 0
    extra: np.ndarray = np.sqrt(np.maximum(level - squares, 0)).astype(np.float32)
    return extra
