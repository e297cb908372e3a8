"""Interactions of users with items: a checked sparse matrix with ids, times and item metadata."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import Id, IdMap, clean_ids
from segue.data.matrices import clean_csr
from segue.data.splits import split_mask
from segue.errors import DataError, SettingError
from segue.types import CSR

log = logging.getLogger("segue")


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions of users with items.

    Attributes:
        matrix: users × items CSR of float32 weights with sorted indices and without stored zeros.
        users: the external ids of the rows (`users.ids`).
        items: the external ids of the columns (`items.ids`).
        times: (nnz,) float64 seconds since 1970, aligned with `matrix.data`; None if unknown.
        item_metadata: one row per item in the order of the columns (title, genres, year, …); None if unknown.
    """

    matrix: CSR
    users: IdMap
    items: IdMap
    times: np.ndarray | None = None
    item_metadata: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise DataError(
                f"a matrix of shape {self.matrix.shape} (users × items) does not fit "
                f"{len(self.users):,} user ids and {len(self.items):,} item ids{_transpose_hint(self)}"
            )
        if self.times is not None and len(self.times) != self.matrix.nnz:
            raise DataError(f"{len(self.times):,} times do not fit {self.matrix.nnz:,} interactions")
        if self.item_metadata is not None and self.item_metadata.height != len(self.items):
            raise DataError(
                f"{self.item_metadata.height:,} rows of item metadata do not fit {len(self.items):,} items"
            )

    def __len__(self) -> int:
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        users, items = self.matrix.shape
        return f"Interactions({users:,} users × {items:,} items, {len(self):,} interactions)"

    def split(
        self, test: float | None = None, by: str = "random", seed: int = 0
    ) -> tuple[Interactions, Interactions]:
        """Split into (train, test); both keep all ids, so a row means the same in both.

        Args:
            test: the share to hold out; None: 0.2, or 1 for by="last".
            by: "random": a share of all interactions (LightFM's split); "time": everything after one moment;
                "last": the last `test` interactions of each user, or a share if it is below 1; "users": all
                interactions of a share of the users (strong generalization; split the test side again to get
                histories for fold-in).
            seed: random seed for "random" and "users". The same seed gives the same split.

        Raises:
            SettingError: an unknown split, or a `test` that it does not accept.
            DataError: one side would be empty, or there are no times for a split that needs them.
        """
        mask = split_mask(self.matrix, self.times, test, by, seed)
        return self.where(~mask), self.where(mask)

    def where(self, mask: np.ndarray) -> Interactions:
        """Keep the stored interactions where `mask` (nnz,) is true, and all ids."""
        offsets = np.concatenate([[0], np.cumsum(mask)])
        matrix = sp.csr_matrix(
            (self.matrix.data[mask], self.matrix.indices[mask], offsets[self.matrix.indptr]),
            self.matrix.shape,
        )
        return replace(self, matrix=matrix, times=None if self.times is None else self.times[mask])

    def core(self, users: int, items: int) -> Interactions:
        """Drop users and items with fewer than `users` and `items` interactions until all have enough.

        Raises:
            SettingError: a negative number.
            DataError: no interactions remain.
        """
        if users < 0 or items < 0:
            raise SettingError(
                f"a core of {users} per user and {items} per item must not be negative", arguments=("core",)
            )
        core = self.compact()
        while len(core):
            rows, columns = (
                np.diff(core.matrix.indptr),
                np.bincount(core.matrix.indices, minlength=len(core.items)),
            )
            keep = np.repeat(rows >= users, rows) & (columns[core.matrix.indices] >= items)
            if keep.all():
                return core
            core = core.where(keep).compact()
        raise DataError(
            f"no interaction is left: none of {len(self):,} is in a core of at least {users} per user "
            f"and {items} per item; lower core=",
            arguments=("core",),
        )

    def compact(self) -> Interactions:
        """Drop users and items without interactions, and their ids."""
        rows = np.diff(self.matrix.indptr) > 0
        columns = np.bincount(self.matrix.indices, minlength=len(self.items)) > 0
        if rows.all() and columns.all():
            return self
        new_columns = np.cumsum(columns) - 1
        indptr = np.concatenate([[0], self.matrix.indptr[1:][rows]])
        shape = (int(rows.sum()), int(columns.sum()))
        return Interactions(
            sp.csr_matrix(
                (self.matrix.data, new_columns[self.matrix.indices].astype(np.int32), indptr), shape
            ),
            IdMap.trusted(self.users.series.filter(pl.Series(rows)), noun="user"),
            IdMap.trusted(self.items.series.filter(pl.Series(columns)), noun="item"),
            self.times,
            None if self.item_metadata is None else self.item_metadata.filter(pl.Series(columns)),
        )

    def with_metadata(self, table: pl.DataFrame, item: str) -> Interactions:
        """Attach metadata of items.

        Args:
            table: one row per item; unknown items are ignored, and items without a row get nulls.
            item: the column of item ids.

        Raises:
            DataError: there is no such column or no other one, or an item has two rows.
        """
        if item not in table.columns:
            raise DataError(
                f"no column {item!r} in the item metadata; its columns are {', '.join(table.columns)}"
            )
        if table.width == 1:
            raise DataError(f"the item metadata has no column beside {item!r}")
        rows = self.items.rows(clean_ids(table[item], "item"))
        known = np.flatnonzero(rows >= 0)
        counts = np.bincount(rows[known], minlength=len(self.items))
        if (counts > 1).any():
            repeated = self.items[int(np.argmax(counts > 1))]
            raise DataError(f"the item {repeated!r} has more than one row of metadata; keep one")
        positions = np.full(len(self.items), -1, np.int64)
        positions[rows[known]] = known
        order = pl.Series(positions).replace(-1, None)
        return replace(self, item_metadata=table.drop(item).select(pl.all().gather(order)))


def _transpose_hint(data: Interactions) -> str:
    swapped = data.matrix.shape == (len(data.items), len(data.users))
    return ": the rows are items here, so pass matrix.T" if swapped else ""


def from_csr(
    matrix: sp.sparray | sp.spmatrix,
    *,
    users: Iterable[Id] | None = None,
    items: Iterable[Id] | None = None,
) -> Interactions:
    """Return the interactions of a users × items sparse matrix.

    Args:
        matrix: the weights; duplicates are summed and zeros dropped.
        users: the ids of the rows; None: 0..n-1.
        items: the ids of the columns; None: 0..n-1.

    Raises:
        DataError: the matrix is empty, a weight is not finite, or the ids do not fit.
    """
    csr = clean_csr(matrix)
    csr.eliminate_zeros()
    if not csr.nnz:
        raise DataError(f"the matrix of shape {csr.shape} contains no interactions")
    log.info(
        "read a matrix of %s users (rows) × %s items (columns); pass matrix.T if the rows are items",
        *(f"{n:,}" for n in csr.shape),
    )
    return Interactions(
        csr,
        IdMap(range(csr.shape[0]) if users is None else users, noun="user"),
        IdMap(range(csr.shape[1]) if items is None else items, noun="item"),
    )
