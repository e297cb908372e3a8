"""Add later interactions to earlier ones: new ids are appended, known rows stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import CorruptModelError, SettingError
from segue.types import CSR

DUPLICATES = ("sum", "last")


@dataclass(frozen=True, eq=False)
class Growth:
    """Interactions after an update.

    Attributes:
        interactions: earlier and new ones; new users and items come after the known ones.
        added: the new ones, as a users × items CSR of the same shape.
    """

    interactions: Interactions
    added: CSR


def grow(
    users: IdMap,
    items: IdMap,
    matrix: CSR,
    metadata: pl.DataFrame | None,
    new: Interactions,
    duplicates: str,
) -> Growth:
    """Add new interactions to a users × items CSR.

    Args:
        users, items: the ids of its rows and columns.
        matrix: the earlier interactions.
        metadata: what is known of the items, one row each; None: nothing.
        new: the new interactions.
        duplicates: "sum" the weights of repeated pairs, or keep the "last".

    Raises:
        DataError: new ids are strings, but the known ones are integers.
        SettingError: an unknown `duplicates`.
        CorruptModelError: the CSR is damaged.
    """
    if duplicates not in DUPLICATES:
        raise SettingError(
            f"duplicates={duplicates!r} must be one of {', '.join(map(repr, DUPLICATES))} in an update",
            arguments=("duplicates",),
        )
    _check(matrix)
    all_users, all_items = users.grown(new.users.series), items.grown(new.items.series)
    shape = len(all_users), len(all_items)
    before = sp.csr_matrix(
        (matrix.data, matrix.indices, _extend_indptr(matrix.indptr, shape[0])), shape, dtype=np.float32
    )
    pairs = new.matrix.tocoo()
    rows, columns = all_users.rows(new.users.series), all_items.rows(new.items.series)
    added = sp.csr_matrix((pairs.data, (rows[pairs.row], columns[pairs.col])), shape, dtype=np.float32)
    added.sort_indices()
    earlier = before - before.multiply(added != 0) if duplicates == "last" else before
    merged = sp.csr_matrix(earlier + added, dtype=np.float32)
    merged.eliminate_zeros()
    merged.sort_indices()
    table = _grown_metadata(metadata, new, columns, len(items))
    return Growth(Interactions(merged, all_users, all_items, None, table), added)


def _check(matrix: CSR) -> None:
    """Raise `CorruptModelError` if an index of a CSR, which may be mapped from a file, is out of range."""
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise CorruptModelError(
            "the table of interactions is damaged; run `segue verify` and restore the model"
        ) from error


def _extend_indptr(indptr: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([indptr, np.full(rows + 1 - len(indptr), indptr[-1])])


def _grown_metadata(
    table: pl.DataFrame | None, new: Interactions, rows: np.ndarray, known: int
) -> pl.DataFrame | None:
    """Return the metadata with a row for each new item, null for unknown columns."""
    if table is None:
        return None
    new_items = np.flatnonzero(rows >= known)
    if new.item_metadata is None:
        return pl.concat([table, table.clear(len(new_items))])
    order = pl.Series(new_items[np.argsort(rows[new_items])])
    shared = [name for name in table.columns if name in new.item_metadata.columns]
    values = new.item_metadata.select(pl.col(shared).gather(order))
    added = values.select(pl.col(name).cast(table.schema[name], strict=False) for name in shared)
    return pl.concat([table, added], how="diagonal")
