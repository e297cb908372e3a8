"""What every search returns, and the checks that every search makes of what it is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segue.errors import DataError, SettingError


class Neighbors(NamedTuple):
    """The best items of each query: score descending, then id ascending.

    Attributes:
        ids: (q, k) int32, -1 where fewer than k were eligible.
        scores: (q, k) float32, higher is nearer; -inf where the id is -1.
        examined: (q,) int64, the vectors that were scored for each query.
    """

    ids: np.ndarray
    scores: np.ndarray
    examined: np.ndarray


class Excluded(NamedTuple):
    """Items left out for each query, as checked CSR arrays: row q is
    `indices[indptr[q]:indptr[q + 1]]`, sorted.
    """

    indptr: np.ndarray
    indices: np.ndarray


def fixed(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are compiled once for it, whether the array is mapped from a file or not."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_vectors(vectors: Any, what: str, dim: int | None = None) -> np.ndarray:
    """Return finite (n, dim) float32 rows in C order, or raise `DataError`."""
    made = np.ascontiguousarray(vectors, dtype=np.float32)
    if made.ndim != 2:
        raise DataError(
            f"{what} must be (n, dim), one vector a row, not {made.ndim}-dimensional {made.shape}"
        )
    if dim is not None and made.shape[1] != dim:
        raise DataError(f"{what} have {made.shape[1]} dimensions, but the index holds vectors of {dim}")
    if made.shape[1] == 0:
        raise DataError(f"{what} have no dimensions")
    if not np.isfinite(made).all():
        row = int(np.flatnonzero(~np.isfinite(made).all(1))[0])
        raise DataError(f"{what} must be finite, but row {row} holds NaN or infinity")
    return made


def check_k(k: Any) -> int:
    """Return k as an int of at least 1, or raise `SettingError`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(f"k={k!r} must be a whole number of at least 1")
    return int(k)


def check_exclude(exclude: Any, queries: int, items: int) -> Excluded | None:
    """Return the rows of a CSR (queries × items) as arrays with sorted indices within bounds."""
    if exclude is None:
        return None
    if exclude.shape != (queries, items):
        raise DataError(
            f"exclude has the shape {exclude.shape}, but it must be queries × items, ({queries}, {items}): "
            "one row per query, in the order of the queries"
        )
    if not exclude.has_sorted_indices:
        exclude = exclude.sorted_indices()
    if exclude.nnz and (exclude.indices.min() < 0 or exclude.indices.max() >= items):
        raise DataError(f"exclude names items outside 0..{items - 1}")
    return Excluded(exclude.indptr.astype(np.int64, copy=False), exclude.indices.astype(np.int32, copy=False))


def check_allow(allow: Any, queries: int, items: int) -> np.ndarray | None:
    """Return bitmaps (1, items) or (queries, items) as bool, or raise `DataError`."""
    if allow is None:
        return None
    bits = np.asarray(allow)
    if bits.dtype != bool:
        raise DataError(f"allow must be a bitmap of bool over the {items:,} items, not {bits.dtype}")
    if bits.shape not in ((items,), (1, items), (queries, items)):
        raise DataError(f"allow has the shape {bits.shape}; it must be ({items},) or ({queries}, {items})")
    return np.ascontiguousarray(bits.reshape(-1, items))
