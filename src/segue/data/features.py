"""Features: what is known of users or items, as a sparse matrix with a column for each feature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap, clean_ids
from segue.data.tables import open_frame
from segue.errors import DataError, SettingError

IDENTITY = "id"  # the column under which identity features are named
SCHEMA = {"column": pl.String, "value": pl.String, "mean": pl.Float64, "scale": pl.Float64}


@dataclass(frozen=True, eq=False)
class Encoding:
    """How columns become features; it encodes rows that were not there when it was made in the same way.

    Attributes:
        table: a row per feature: column, value (null for a number), mean and scale (of a number). Identity
            features, whose column is "id", come first.
        separator: what parts the values of a text, such as `Comedy|Drama`.
        normalize: whether the weights of a row are scaled to a sum of absolute values of 1, as in LightFM.
    """

    table: pl.DataFrame
    separator: str = "|"
    normalize: bool = True

    def __post_init__(self) -> None:
        if dict(self.table.schema) != SCHEMA:
            raise DataError(f"the table of an encoding must have {SCHEMA}, not {dict(self.table.schema)}")

    @property
    def names(self) -> list[str]:
        """The features' names: `genres=Drama`, `year`."""
        named = pl.when(pl.col("value").is_null()).then("column")
        told = named.otherwise(pl.format("{}={}", "column", "value"))
        return self.table.select(told).to_series().to_list()

    def encode(self, frame: Any, ids: pl.Series | None = None) -> Any:
        """Turn the rows of a frame into a CSR (rows × features) float32.

        Values that were not there when the encoding was made are no feature and left out, as are ids
        (`ids`, one a row) without an identity feature. Raises `DataError` for a column that is missing.
        """
        made = _taken(frame, [name for name in self._columns() if name != IDENTITY])
        height = made.height if made.width else len(ids if ids is not None else ())
        cells = [_cells(made[name], self.separator) for name in made.columns if self._kind(name) == "values"]
        if ids is not None and IDENTITY in self._columns():
            cells.append(_keyed(IDENTITY, np.arange(len(ids)), ids.cast(pl.String)))
        asked = (
            pl.concat(cells)
            if cells
            else _keyed(IDENTITY, np.empty(0, np.int64), pl.Series([], dtype=pl.String))
        )
        known = self.table.with_row_index("feature").filter(pl.col("value").is_not_null())
        joined = asked.join(known, on=["column", "value"], how="inner", maintain_order="left")
        parts = [(joined["row"].to_numpy(), joined["feature"].to_numpy(), np.ones(joined.height))]
        parts += [self._number(made[name]) for name in made.columns if self._kind(name) == "number"]
        row, feature, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = sp.csr_matrix((weight, (row, feature)), (height, self.table.height), dtype=np.float64)
        matrix.eliminate_zeros()
        return _scaled(matrix) if self.normalize else matrix.astype(np.float32)

    def _columns(self) -> list[str]:
        return self.table["column"].unique(maintain_order=True).to_list()

    def _kind(self, column: str) -> str:
        values = self.table.filter(pl.col("column") == column)["value"]
        return "number" if values[0] is None else "values"

    def _number(self, series: pl.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A standardised number; 0, the mean, where it is missing."""
        feature = self.table["column"].index_of(series.name)
        _, _, mean, scale = self.table.row(feature)
        values = (_numbers(series).fill_null(mean).to_numpy() - mean) / scale
        return np.arange(len(values)), np.full(len(values), feature), values


@dataclass(frozen=True, eq=False)
class Features:
    """What is known of users or items: a row for each of them, a column for each feature.

    Attributes:
        matrix: rows × features CSR of finite float32 weights.
        encoding: what the columns mean, and how new rows are made.
    """

    matrix: Any
    encoding: Encoding

    def __post_init__(self) -> None:
        if self.matrix.shape[1] != self.encoding.table.height:
            raise DataError(
                f"a matrix of shape {self.matrix.shape} (rows × features) does not fit "
                f"{self.encoding.table.height:,} features{_turned(self)}"
            )

    @property
    def names(self) -> list[str]:
        """The features' names, in the order of the columns."""
        return self.encoding.names

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __repr__(self) -> str:
        return f"Features({len(self):,} rows × {self.matrix.shape[1]:,} features)"

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        columns: str | Iterable[str],
        *,
        ids: IdMap,
        id: str | None = None,  # noqa: A002
        identity: bool = True,
        normalize: bool = True,
        separator: str = "|",
    ) -> Features:
        """Make features of columns of a frame (polars, pandas, pyarrow, …).

        Texts become a feature for each value, several where a separator parts them (`Comedy|Drama`), and so
        do lists, categories and true/false. Numbers become one feature, standardised to mean 0 and deviation
        1; a number that is missing counts as the mean. Cast numbers that are names to text first.

        Args:
            frame: what is known, a row for each user or item.
            columns: the columns to take, by name.
            ids: whose rows the features are to stand beside, such as `data.items`.
            id: the frame's column of ids. Rows of other ids are left out, and ids without a row have no
                features but their identity. None: the frame's rows are in the order of `ids`.
            identity: whether everyone also has a feature of their own, as they have without features.
            normalize: whether the weights of a row are scaled to sum up to 1 (in absolute values).
            separator: what parts the values of a text.

        Raises `DataError` for missing columns, infinite numbers, ids that stand in more than one row,
        rows that do not fit, and where nothing is known.
        """
        named = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
        if IDENTITY in named:
            raise SettingError(
                f"a column {IDENTITY!r} would be taken for the identity; rename it, or identity=True"
            )
        taken = _taken(frame, list(dict.fromkeys([*named, *([] if id is None else [id])])))
        placed = rows_of(taken, ids, id).select(named)
        encoding = Encoding(_features_of(placed, ids if identity else None, separator), separator, normalize)
        if not encoding.table.height:
            raise DataError(f"there are no features in {', '.join(map(repr, named)) or 'no columns'}")
        return cls(encoding.encode(placed, ids.series), encoding)

    @classmethod
    def from_csr(cls, matrix: Any, names: Iterable[str] | None = None) -> Features:
        """Take a sparse matrix (rows × features) as it is; features without names are called 0, 1, …"""
        made = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
        made.sum_duplicates()
        if not np.isfinite(made.data).all():
            place = int(np.flatnonzero(~np.isfinite(made.data))[0])
            row = int(np.searchsorted(made.indptr, place, side="right")) - 1
            raise DataError(
                f"the weight of feature {made.indices[place]} in row {row} is {made.data[place]}; "
                "weights must be finite"
            )
        values = list(map(str, range(made.shape[1]) if names is None else names))
        columns = {"column": ["feature"] * len(values), "value": values, "mean": None, "scale": None}
        return cls(made, Encoding(pl.DataFrame(columns, schema=SCHEMA), normalize=False))


def _taken(frame: Any, columns: list[str]) -> pl.DataFrame:
    table = open_frame(frame)
    for name in columns:
        if name not in table.columns:
            raise DataError(
                f"there is no column {name!r} to make features of; there are {', '.join(table.columns)}"
            )
    return table.read(columns, ())


def rows_of(frame: pl.DataFrame, ids: IdMap, column: str | None) -> pl.DataFrame:
    """Return the frame's rows in the order of the ids, null where there is none.

    Raises `DataError` where no id of the column is known, or one stands in more than one row.
    """
    if column is None:
        if frame.height != len(ids):
            raise DataError(
                f"{frame.height:,} rows of features do not fit {len(ids):,} {ids.noun}s; "
                "name the column of their ids (id=)"
            )
        return frame
    rows = ids.rows(clean_ids(frame[column], ids.noun))
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        sample = ", ".join(repr(one) for one in frame[column].head(3))
        raise DataError(
            f"none of the {frame.height:,} ids in {column!r} is a known {ids.noun}, such as {sample}"
        )
    counts = np.bincount(rows[known], minlength=len(ids))
    if (counts > 1).any():
        raise DataError(
            f"the {ids.noun} {ids[int(np.argmax(counts > 1))]!r} has more than one row of features; keep one"
        )
    places = np.full(len(ids), -1, np.int64)
    places[rows[known]] = known
    return frame.select(pl.all().gather(pl.Series(places).replace(-1, None)))


def _features_of(frame: pl.DataFrame, ids: IdMap | None, separator: str) -> pl.DataFrame:
    """The table of an encoding: the identity first, then the columns, values in their order."""
    parts = [pl.DataFrame(schema=SCHEMA)]
    if ids is not None:
        parts.append(_valued(IDENTITY, ids.series.cast(pl.String)))
    for series in frame:
        if series.dtype.is_numeric():
            known = _numbers(series).drop_nulls()
            mean, deviation = (float(known.mean()), float(known.std(ddof=0))) if known.len() else (0.0, 0.0)  # type: ignore[arg-type]
            row = {"column": [series.name], "value": [None], "mean": [mean], "scale": [deviation or 1.0]}
            parts.append(pl.DataFrame(row, schema=SCHEMA))
        else:
            parts.append(_valued(series.name, _cells(series, separator)["value"].unique().sort()))
    return pl.concat(parts)


def _valued(column: str, values: pl.Series) -> pl.DataFrame:
    nothing = pl.lit(None, pl.Float64)
    return pl.DataFrame({"value": values}).select(
        pl.lit(column).alias("column"), "value", nothing.alias("mean"), nothing.alias("scale")
    )


def _cells(series: pl.Series, separator: str) -> pl.DataFrame:
    """The values of a column, a row each: row, column, value."""
    if isinstance(series.dtype, (pl.List, pl.Array)):
        lists = series.to_frame("value")
    elif series.dtype == pl.String:
        lists = series.str.split(separator).to_frame("value")
    else:
        lists = series.cast(pl.String).reshape((-1, 1)).cast(pl.List(pl.String)).to_frame("value")
    cells = lists.with_columns(pl.int_range(pl.len()).alias("row")).explode("value").drop_nulls()
    told = cells.with_columns(pl.col("value").cast(pl.String).str.strip_chars())
    kept = told.filter(pl.col("value") != "").unique(["row", "value"], maintain_order=True)
    return _keyed(series.name, kept["row"].to_numpy(), kept["value"])


def _keyed(column: str, rows: np.ndarray, values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.astype(np.int64), "value": values}).select(
        "row", pl.lit(column).alias("column"), "value"
    )


def _numbers(series: pl.Series) -> pl.Series:
    """Finite float64, null where missing; NaN is what pandas has for missing, so infinity alone is wrong."""
    numbers = series.cast(pl.Float64, strict=False)
    bad = numbers.is_infinite().fill_null(value=False) | (numbers.is_null() & series.is_not_null())
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(f"{series.name!r} in row {row + 1} is {series[row]!r}; it must be a finite number")
    return numbers.fill_nan(None)


def _scaled(matrix: Any) -> Any:
    sums = np.asarray(abs(matrix).sum(1)).ravel()
    scaled = sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ matrix
    return sp.csr_matrix(scaled, dtype=np.float32)


def _turned(made: Features) -> str:
    fits = made.matrix.shape[0] == made.encoding.table.height
    return ": the rows are features here, so pass matrix.T" if fits else ""
