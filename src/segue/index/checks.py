"""Validation of vectors, search arguments and the settings of indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from segue.errors import DataError, SettingError
from segue.kernels.arrays import readonly
from segue.types import CSR

MAX_VALUE = 1e15  # of a vector: products of larger values can overflow float32
FEW_VALUES = 4096  # in a query, or a few: one dot product checks them

NO_ALLOW_LIST = readonly(np.empty((0, 0), bool))
NO_ITEMS = readonly(np.empty(0, np.int32))

Bounds: TypeAlias = tuple[int, int | None]
"""Smallest and largest valid value of an integer setting; None for no limit."""


def check_vectors(vectors: npt.ArrayLike, noun: str, dim: int | None = None) -> np.ndarray:
    """Return vectors as finite (n, dim) float32 rows in C order, or raise `DataError`.

    Args:
        vectors: the rows.
        noun: the subject of the error message, such as "queries".
        dim: the required number of dimensions; None accepts any.
    """
    try:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{noun} must be a dense array of numbers (n, dim): {error}") from error
    if rows.ndim != 2:
        raise DataError(
            f"{noun} must be (n, dim), one vector per row, not {rows.ndim}-dimensional {rows.shape}"
        )
    if dim is not None and rows.shape[1] != dim:
        raise DataError(f"{noun} have {rows.shape[1]} dimensions, but the index holds vectors of {dim}")
    if rows.shape[1] == 0:
        raise DataError(f"{noun} have no dimensions")
    if rows.size <= FEW_VALUES:  # one numpy call instead of two; this counts for a single query
        values = rows.reshape(-1)
        if np.dot(values, values) <= MAX_VALUE:
            return rows
    if len(rows) and not -MAX_VALUE <= rows.min() <= rows.max() <= MAX_VALUE:
        raise _invalid_values(rows, noun)
    return rows


def check_items(vectors: npt.ArrayLike) -> np.ndarray:
    """Return the vectors to index as (n, dim) float32 with at least one row, or raise `DataError`."""
    rows = check_vectors(vectors, "the vectors")
    if not len(rows):
        raise DataError("there are no vectors to search in")
    return rows


def check_sample(queries: npt.ArrayLike | None, dim: int) -> np.ndarray | None:
    """Return a sample of queries (q, dim) float32, or None if it is missing or empty."""
    if queries is None or not np.shape(queries)[0]:
        return None
    return check_vectors(queries, "queries", dim)


def _invalid_values(rows: np.ndarray, noun: str) -> DataError:
    """Return the error that names the first row with an unusable value."""
    is_invalid = ~np.isfinite(rows).all(1)
    if is_invalid.any():
        return DataError(f"{noun} must be finite, but row {int(is_invalid.argmax())} holds NaN or infinity")
    row = int((np.abs(rows).max(1) > MAX_VALUE).argmax())
    return DataError(
        f"{noun} may hold values up to {MAX_VALUE:.0e}, but row {row} has {np.abs(rows[row]).max():.3g}, "
        "whose products can overflow; scale the vectors down, which does not change the order"
    )


def check_k(k: int, name: str = "k") -> int:
    """Return k as an int of at least 1, or raise `SettingError`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(f"{name}={k!r} must be a whole number of at least 1", arguments=(name,))
    return int(k)


def check_exclude(exclude: CSR | None, queries: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indptr and the sorted indices of a CSR (queries, items), or raise `DataError`."""
    if exclude is None:
        return np.zeros(queries + 1, np.int64), NO_ITEMS
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


def check_allow(allow: npt.ArrayLike | None, queries: int, items: int) -> np.ndarray:
    """Return bitmaps (1, items) or (queries, items), (0, 0) if all are allowed, or raise `DataError`."""
    if allow is None:
        return NO_ALLOW_LIST
    bits = np.asarray(allow)
    if bits.dtype != bool:
        raise DataError(f"allow must be a bitmap of bool over the {items:,} items, not {bits.dtype}")
    if bits.shape not in ((items,), (1, items), (queries, items)):
        raise DataError(f"allow has the shape {bits.shape}; it must be ({items},) or ({queries}, {items})")
    return np.ascontiguousarray(bits.reshape(-1, items))


def check_metric(settings: object, metrics: tuple[str, ...]) -> None:
    """Raise `SettingError` unless the setting `metric` is one of `metrics`."""
    metric = getattr(settings, "metric")  # noqa: B009
    if metric not in metrics:
        known = ", ".join(map(repr, metrics))
        raise SettingError(f"{type(settings).__name__}(metric={metric!r}) must be one of {known}")


def check_integers(settings: object, bounds: Mapping[str, Bounds], *, optional: bool = False) -> None:
    """Raise `SettingError` unless each named setting is an integer within its bounds.

    Args:
        settings: the dataclass of settings.
        bounds: the smallest and the largest valid value by the name of the setting.
        optional: accept None.
    """
    for name, (least, most) in bounds.items():
        value = getattr(settings, name)
        if value is None and optional:
            continue
        is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not is_integer or value < least or (most is not None and value > most):
            expected = f"of at least {least}" if most is None else f"from {least} to {most}"
            call = f"{type(settings).__name__}({name}={value!r})"
            raise SettingError(f"{call} must be a whole number {expected}")


def check_recall(settings: object) -> None:
    """Raise `SettingError` unless the setting `recall` is a number above 0 and at most 1."""
    recall = getattr(settings, "recall")  # noqa: B009
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise SettingError(f"{type(settings).__name__}(recall={recall!r}) must be above 0 and at most 1")
