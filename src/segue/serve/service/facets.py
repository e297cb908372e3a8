"""Facets: the columns of the item metadata that a page can offer as filters."""

from __future__ import annotations

import polars as pl

from segue.recommender.filters import SEPARATOR
from segue.serve.payloads import Facet

MAX_COLUMNS = 8
MAX_VALUES = 40  # values listed per column
MAX_DISTINCT = 0.2  # distinct values per item, above which a text column is not a facet


def facets(table: pl.DataFrame | None, title: str | None = "title") -> list[Facet]:
    """Return the facets of item metadata: numbers with their range, texts with their most common values."""
    result: list[Facet] = []
    for column in [] if table is None else table.get_columns():
        if column.name == title or len(result) == MAX_COLUMNS:
            continue
        facet = _number_facet(column) if column.dtype.is_numeric() else _text_facet(column)
        if facet is not None:
            result.append(facet)
    return result


def _number_facet(column: pl.Series) -> Facet | None:
    finite = column.cast(pl.Float64).drop_nulls()
    finite = finite.filter(finite.is_finite())
    if finite.n_unique() < 2:
        return None
    values = finite.to_numpy()
    return Facet(column=column.name, kind="number", min=float(values.min()), max=float(values.max()))


def _text_facet(column: pl.Series) -> Facet | None:
    if isinstance(column.dtype, (pl.List, pl.Array)):
        parts = column.cast(pl.List(pl.String)).explode()
    else:
        parts = column.cast(pl.String).str.split(SEPARATOR).explode()
    counts = parts.drop_nulls().str.strip_chars().alias("value").value_counts(name="items")
    is_value = (pl.col("value") != "") & ~pl.col("value").str.starts_with("(")  # not "(no genres listed)"
    counts = counts.filter(is_value)
    if not 2 <= len(counts) <= max(MAX_VALUES, MAX_DISTINCT * len(column)):
        return None
    common = counts.sort(["items", "value"], descending=[True, False]).head(MAX_VALUES)
    return Facet(
        column=column.name,
        kind="text",
        values=[{"value": value, "items": items} for value, items in common.iter_rows()],
        more=max(0, len(counts) - MAX_VALUES),
    )
