"""Interactions that came later, beside those there were: ids grow, rows keep their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import CorruptModelError, SettingError

DUPLICATES = ("sum", "last")


@dataclass(frozen=True, eq=False)
class Growth:
    """What became of interactions when others came.

    Attributes:
        interactions: all of them, new users and items after those there were.
        added: the new ones, as a users × items CSR of the same shape.
    """

    interactions: Interactions
    added: Any


def grow(
    users: IdMap,
    items: IdMap,
    matrix: Any,
    metadata: pl.DataFrame | None,
    new: Interactions,
    duplicates: str,
) -> Growth:
    """Put new interactions beside a users × items CSR; of repeated pairs weights are summed or the last kept.

    Raises `DataError` for new ids that are strings where the known ones are integers, `SettingError` for
    another policy, `CorruptModelError` where the CSR is damaged.
    """
    if duplicates not in DUPLICATES:
        raise SettingError(
            f"duplicates={duplicates!r} must be one of {', '.join(map(repr, DUPLICATES))} in an update"
        )
    _check(matrix)
    all_users, all_items = users.grown(new.users.series), items.grown(new.items.series)
    shape = len(all_users), len(all_items)
    before = sp.csr_matrix(
        (matrix.data, matrix.indices, _longer(matrix.indptr, shape[0])), shape, dtype=np.float32
    )
    pairs = new.matrix.tocoo()
    rows, columns = all_users.rows(new.users.series), all_items.rows(new.items.series)
    added = sp.csr_matrix((pairs.data, (rows[pairs.row], columns[pairs.col])), shape, dtype=np.float32)
    added.sort_indices()
    kept = before - before.multiply(added != 0) if duplicates == "last" else before
    merged = sp.csr_matrix(kept + added, dtype=np.float32)
    merged.eliminate_zeros()
    merged.sort_indices()
    known = _grown_metadata(metadata, new, columns, len(items))
    return Growth(Interactions(merged, all_users, all_items, None, known), added)


def _check(matrix: Any) -> None:
    """Raise `CorruptModelError` where a CSR, perhaps mapped from a file, points beyond itself."""
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise CorruptModelError(
            "the table of interactions is damaged; run `segue verify` and restore the model"
        ) from error


def _longer(indptr: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([indptr, np.full(rows + 1 - len(indptr), indptr[-1])])


def _grown_metadata(
    table: pl.DataFrame | None, new: Interactions, rows: np.ndarray, known: int
) -> pl.DataFrame | None:
    """The table with a row for each new item: what the new interactions know of it, null for the rest."""
    if table is None:
        return None
    fresh = np.flatnonzero(rows >= known)
    if new.item_metadata is None:
        return pl.concat([table, table.clear(len(fresh))])
    order = pl.Series(fresh[np.argsort(rows[fresh])])
    there = [name for name in table.columns if name in new.item_metadata.columns]
    taken = new.item_metadata.select(pl.col(there).gather(order))
    added = taken.select(pl.col(name).cast(table.schema[name], strict=False) for name in there)
    return pl.concat([table, added], how="diagonal")
