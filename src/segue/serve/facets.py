"""Facets: what the columns of the items' metadata can be filtered by, for a page to offer."""

from __future__ import annotations

from typing import Any

import polars as pl

from segue.recommender.filters import SEPARATOR

COLUMNS, VALUES = 8, 40  # that are offered
SHARE = 0.2  # of the items, above which a text has too many different values to choose from


def facets(table: pl.DataFrame | None, title: str | None = "title") -> list[dict[str, Any]]:
    """Return the columns to choose by: numbers with their range, texts with their commonest values."""
    told: list[dict[str, Any]] = []
    for column in [] if table is None else table.get_columns():
        if column.name == title or len(told) == COLUMNS:
            continue
        found = _range(column) if column.dtype.is_numeric() else _values(column)
        if found:
            told.append({"column": column.name, **found})
    return told


def _range(column: pl.Series) -> dict[str, Any]:
    finite = column.cast(pl.Float64).drop_nulls()
    finite = finite.filter(finite.is_finite())
    if finite.n_unique() < 2:
        return {}
    return {"kind": "number", "least": finite.min(), "most": finite.max()}


def _values(column: pl.Series) -> dict[str, Any]:
    if isinstance(column.dtype, (pl.List, pl.Array)):
        parts = column.cast(pl.List(pl.String)).explode()
    else:
        parts = column.cast(pl.String).str.split(SEPARATOR).explode()
    counts = parts.drop_nulls().str.strip_chars().alias("value").value_counts(name="items")
    named = (pl.col("value") != "") & ~pl.col("value").str.starts_with("(")  # not "(no genres listed)"
    counts = counts.filter(named)
    if not 2 <= len(counts) <= max(VALUES, SHARE * len(column)):
        return {}
    best = counts.sort(["items", "value"], descending=[True, False]).head(VALUES)
    return {"kind": "text", "values": best.to_dicts(), "more": max(0, len(counts) - VALUES)}
