"""What every search returns, and the checks that every search makes of what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from segue.errors import DataError, SettingError
from segue.kernels import threads
from segue.kernels.arrays import readonly
from segue.progress import Progress

LARGEST = 1e15  # of a vector's values: their products must not overflow in float32
SMALL = 4096  # values of a query or a few
QUERIES = 64  # that a thread takes at a time
PART = 16_384  # queries between two words of progress


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


class SearchRequest(NamedTuple):
    """A search whose arguments have been checked.

    Attributes:
        queries: (q, dim) float32.
        k: as asked.
        width: min(k, items).
        allow: (0, 0), (1, items) or (q, items) bool.
        indptr, excluded: the items left out, CSR: row q is `excluded[indptr[q]:indptr[q + 1]]`, sorted.
    """

    queries: np.ndarray
    k: int
    width: int
    allow: np.ndarray
    indptr: np.ndarray
    excluded: np.ndarray

    @property
    def filters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What kernels take: read-only arrays."""
        return readonly(self.allow), readonly(self.indptr), readonly(self.excluded)


ALL_ALLOWED = readonly(np.empty((0, 0), bool))
NOTHING_EXCLUDED = readonly(np.empty(0, np.int32))


def answered(
    asked: SearchRequest, work: Callable[..., Any], progress: Progress, together: int = QUERIES
) -> Neighbors:
    """Search with `work(start, stop, ids, scores, examined)` on several threads; the arrays are flat.

    `together`: how many queries a thread takes at a time.
    """
    count, width = len(asked.queries), asked.width
    ids, scores = np.empty((count, width), np.int32), np.empty((count, width), np.float32)
    examined = np.empty(count, np.int64)
    answers = ids.reshape(-1), scores.reshape(-1), examined
    for first in range(0, count, PART):
        last = min(first + PART, count)
        if count > PART:
            progress("searching", first, count)
        chunk = min(together, -(-(last - first) // threads.available())) if last - first > 1 else 1

        def part(start: int, stop: int, first: int = first) -> None:
            work(first + start, first + stop, *answers)

        threads.run(part, last - first, chunk=chunk)
    if count > PART:
        progress("searching", count, count)
    if width < asked.k:
        ids, scores = _widened(ids, asked.k, -1), _widened(scores, asked.k, -np.inf)
    return Neighbors(ids, scores, examined)


def _widened(found: np.ndarray, k: int, filler: float) -> np.ndarray:
    wide = np.full((len(found), k), filler, found.dtype)
    wide[:, : found.shape[1]] = found
    return wide


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
    if made.size <= SMALL:  # one call instead of two, which counts for a query that comes alone
        values = made.reshape(-1)
        if np.dot(values, values) <= LARGEST:
            return made
    if len(made) and not -LARGEST <= made.min() <= made.max() <= LARGEST:
        _refuse_values(made, what)
    return made


def _refuse_values(vectors: np.ndarray, what: str) -> None:
    wrong = ~np.isfinite(vectors).all(1)
    if wrong.any():
        raise DataError(f"{what} must be finite, but row {int(wrong.argmax())} holds NaN or infinity")
    row = int((np.abs(vectors).max(1) > LARGEST).argmax())
    raise DataError(
        f"{what} may hold values up to {LARGEST:.0e}, but row {row} has {np.abs(vectors[row]).max():.3g}, "
        "whose products can overflow; scale the vectors down, which changes no order"
    )


def check_k(k: Any, name: str = "k") -> int:
    """Return k as an int of at least 1, or raise `SettingError`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(f"{name}={k!r} must be a whole number of at least 1", arguments=(name,))
    return int(k)


def check_asked(queries: np.ndarray, k: Any, exclude: Any, allow: Any, items: int) -> SearchRequest:
    """Check everything that a search is asked for, given queries that `check_vectors` returned."""
    k, count = check_k(k), len(queries)
    indptr, excluded = check_exclude(exclude, count, items)
    return SearchRequest(queries, k, min(k, items), check_allow(allow, count, items), indptr, excluded)


def check_exclude(exclude: Any, queries: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a CSR (queries × items) as indptr and indices, sorted and within bounds."""
    if exclude is None:
        return np.zeros(queries + 1, np.int64), NOTHING_EXCLUDED
    if exclude.shape != (queries, items):
        raise DataError(
            f"exclude has the shape {exclude.shape}, but it must be queries × items, ({queries}, {items}): "
            "one row per query, in the order of the queries"
        )
    if not exclude.has_sorted_indices:
        exclude = exclude.sorted_indices()
    if exclude.nnz and (exclude.indices.min() < 0 or exclude.indices.max() >= items):
        raise DataError(f"exclude names items outside 0..{items - 1}")
    return exclude.indptr.astype(np.int64, copy=False), exclude.indices.astype(np.int32, copy=False)


def check_allow(allow: Any, queries: int, items: int) -> np.ndarray:
    """Return bitmaps (1, items) or (queries, items) as bool, (0, 0) for all, or raise `DataError`."""
    if allow is None:
        return ALL_ALLOWED
    bits = np.asarray(allow)
    if bits.dtype != bool:
        raise DataError(f"allow must be a bitmap of bool over the {items:,} items, not {bits.dtype}")
    if bits.shape not in ((items,), (1, items), (queries, items)):
        raise DataError(f"allow has the shape {bits.shape}; it must be ({items},) or ({queries}, {items})")
    return np.ascontiguousarray(bits.reshape(-1, items))
