"""Items to exclude per user: sets of item rows, never sums of weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from segue.errors import DataError
from segue.types import CSR

NO_ITEMS = np.empty(0, np.int32)


class ItemSets:
    """Sorted item rows for each query: what a search reads of a CSR, without the cost of building one.

    Attributes:
        shape: (queries, items).
        indptr: (queries + 1,) int64.
        indices: (nnz,) int32, sorted within each query.
        nnz: the number of entries.
    """

    has_sorted_indices = True

    def __init__(self, sets: Sequence[np.ndarray], items: int) -> None:
        self._sets = sets
        self.shape = (len(sets), items)
        self.indptr = np.zeros(len(sets) + 1, np.int64)
        np.cumsum([len(rows) for rows in sets], out=self.indptr[1:])
        self.indices = np.concatenate(sets) if len(sets) else NO_ITEMS
        self.nnz = len(self.indices)

    def __getitem__(self, mask: np.ndarray) -> ItemSets:
        """Return the sets of the queries where a mask (queries,) is true."""
        return ItemSets([self._sets[row] for row in np.flatnonzero(mask).tolist()], self.shape[1])


Exclusion = CSR | ItemSets


def union(first: CSR | None, second: CSR | None) -> CSR | None:
    """Return the set union of two exclusions (q × items); signs and weights of the entries do not matter."""
    if first is None or second is None:
        return second if first is None else first
    both: CSR = _pattern(first) + _pattern(second)
    return both


def check_exclude_pairs(pairs: object, users: int, items: int) -> CSR:
    """Return users × items pairs to exclude as a CSR without explicit zeros, or raise `DataError`.

    `pairs` is a sparse matrix or an array; an entry that is not zero excludes the item for the user.
    """
    try:
        matrix = sp.csr_matrix(pairs, copy=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"exclude_pairs must be a users × items sparse matrix or array, not {type(pairs).__name__}",
            arguments=("exclude_pairs",),
        ) from error
    if matrix.shape != (users, items):
        raise DataError(
            f"exclude_pairs has the shape {matrix.shape}, but it must be ({users}, {items}): "
            "one row for each requested user, one column for each item",
            arguments=("exclude_pairs",),
        )
    matrix.data = (matrix.data != 0).astype(np.float32)  # before duplicates are summed: signs must not cancel
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def scatter_rows(matrix: CSR, mask: np.ndarray) -> CSR:
    """Return a CSR with the rows of `matrix` where `mask` is true, in order, and empty rows elsewhere."""
    counts = np.zeros(len(mask), np.int64)
    counts[mask] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_matrix((matrix.data, matrix.indices, indptr), (len(mask), matrix.shape[1]))


def one_item_each(rows: np.ndarray, items: int) -> CSR:
    """Return a CSR (q × items) with one entry per row, in the columns `rows` (q,)."""
    ones = np.ones(len(rows), np.float32)
    return sp.csr_matrix((ones, rows, np.arange(len(rows) + 1)), (len(rows), items))


def _pattern(matrix: CSR) -> CSR:
    return sp.csr_matrix(
        (np.ones(len(matrix.indices), np.float32), matrix.indices, matrix.indptr), matrix.shape
    )
