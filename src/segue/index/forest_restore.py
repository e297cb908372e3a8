"""Restoring a forest from stored arrays: every link and every position is checked.

So no search can leave the arrays or loop in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from segue.index.arrays import ArraySpec, check_consistent, matches, spec, take_fields
from segue.index.forest_arrays import HEAD, LEAF, ForestArrays, padded_width, row_width
from segue.kernels import forest
from segue.kernels.arrays import readonly


def restore_forest(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], metric: str) -> ForestArrays:
    """Return the trees among stored arrays; raise `DataError` if they do not fit vectors of this shape."""
    trees = take_fields(ForestArrays, arrays)
    bits = 64 * shape[1] if metric == "hamming" else 0
    check_consistent(
        matches(vars(trees), _specs(trees, shape, metric)) and _values_fit(trees, shape[0], bits)
    )
    return trees


def _specs(trees: ForestArrays, shape: tuple[int, ...], metric: str) -> dict[str, ArraySpec]:
    """Return the dtype and the shape that each array must have."""
    (n, dim), coded = shape, metric not in ("manhattan", "hamming")
    is_long = dim > HEAD and metric != "hamming"
    head = padded_width(min(dim, HEAD)) if metric != "hamming" else 0
    return {
        "order": spec(np.int32, (n,)),
        "center": spec(np.float32, (dim if metric in ("euclidean", "manhattan") else 0,)),
        "axes": spec(np.float32, (dim, dim) if is_long else (0, 0)),
        "codes": spec(np.int8, (n, row_width(dim) if coded else 0)),
        "scales": spec(np.float32, (dim if coded else 0,)),
        "half_sq_norms": spec(np.float32, (n if metric == "euclidean" else 0,)),
        "residual_norms": spec(np.float32, (n if is_long and coded else 0,)),
        "limits": spec(np.float64, (6,)),
        "nodes": spec(np.int32, (len(trees.planes), 4)),
        "planes": spec(np.int8, (len(trees.nodes), head)),
        "members": spec(np.int32, (trees.members.size,)),
        "roots": spec(np.int32, (max(1, trees.roots.size),)),
    }


def _values_fit(trees: ForestArrays, n: int, bits: int) -> bool:
    """Return whether each item has a position and all links and members exist."""
    is_placed = np.zeros(n, bool)
    is_item = (trees.order >= 0) & (trees.order < n)
    is_placed[trees.order[is_item]] = True
    finite = (trees.center, trees.axes, trees.scales, trees.limits)
    if not is_placed.all() or not all(np.isfinite(array).all() for array in finite):
        return False
    leaf = trees.limits[LEAF]
    if not 1 <= leaf <= n or leaf != int(leaf):
        return False
    sound: Callable[..., object] = forest.sound
    return bool(sound(*map(readonly, (trees.nodes, trees.members, trees.roots)), n, int(leaf), bits))
