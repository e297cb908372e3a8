"""Features of users or items: a sparse matrix with one column per feature, and its encoding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap, clean_ids
from segue.data.matrices import clean_csr
from segue.data.tables import open_frame
from segue.errors import DataError, SettingError
from segue.types import CSR

IDENTITY = "id"  # the column name of identity features
SCHEMA = {"column": pl.String, "value": pl.String, "mean": pl.Float64, "scale": pl.Float64}


@dataclass(frozen=True, eq=False)
class Encoding:
    """How columns become features; it encodes later rows in the same way.

    Attributes:
        table: one row per feature: column, value (null for numbers), mean and scale (of numbers). Identity
            features, with the column "id", come first.
        separator: the separator of several values in a text, such as `Comedy|Drama`.
        normalize: scale the weights of each row to a sum of absolute values of 1, as in LightFM.
    """

    table: pl.DataFrame
    separator: str = "|"
    normalize: bool = True

    def __post_init__(self) -> None:
        if dict(self.table.schema) != SCHEMA:
            raise DataError(
                f"the table of an encoding must have the columns {SCHEMA}, not {dict(self.table.schema)}"
            )

    @property
    def names(self) -> list[str]:
        """The names of the features: `genres=Drama`, `year`."""
        number = pl.when(pl.col("value").is_null()).then("column")
        names = number.otherwise(pl.format("{}={}", "column", "value"))
        return self.table.select(names).to_series().to_list()

    def encode(self, frame: object, ids: pl.Series | None = None) -> CSR:
        """Return the features of the rows of a frame as a CSR (rows × features) float32.

        Args:
            frame: the columns of this encoding (polars, pandas, pyarrow, …). Unknown values are ignored.
            ids: the id of each row for identity features; ids without one are ignored.

        Raises:
            DataError: a column is missing, or a number is infinite.
        """
        columns = _read_columns(frame, [name for name in self._columns() if name != IDENTITY])
        height = columns.height if columns.width else len(ids if ids is not None else ())
        cells = [
            _cells(columns[name], self.separator) for name in columns.columns if self._kind(name) == "values"
        ]
        if ids is not None and IDENTITY in self._columns():
            cells.append(_cell_frame(IDENTITY, np.arange(len(ids)), ids.cast(pl.String)))
        values = (
            pl.concat(cells)
            if cells
            else _cell_frame(IDENTITY, np.empty(0, np.int64), pl.Series([], dtype=pl.String))
        )
        known = self.table.with_row_index("feature").filter(pl.col("value").is_not_null())
        joined = values.join(known, on=["column", "value"], how="inner", maintain_order="left")
        parts = [(joined["row"].to_numpy(), joined["feature"].to_numpy(), np.ones(joined.height))]
        parts += [self._number(columns[name]) for name in columns.columns if self._kind(name) == "number"]
        row, feature, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        matrix = sp.csr_matrix((weight, (row, feature)), (height, self.table.height), dtype=np.float64)
        matrix.eliminate_zeros()
        return _normalize_rows(matrix) if self.normalize else matrix.astype(np.float32)

    def _columns(self) -> list[str]:
        return self.table["column"].unique(maintain_order=True).to_list()

    def _kind(self, column: str) -> str:
        values = self.table.filter(pl.col("column") == column)["value"]
        return "number" if values[0] is None else "values"

    def _number(self, series: pl.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, features and standardized numbers of a column; a missing number is 0, the mean."""
        feature = self.table["column"].index_of(series.name)
        _, _, mean, scale = self.table.row(feature)
        values = (_numbers(series).fill_null(mean).to_numpy() - mean) / scale
        return np.arange(len(values)), np.full(len(values), feature), values


@dataclass(frozen=True, eq=False)
class Features:
    """Features of users or items: one row for each of them, one column per feature.

    Attributes:
        matrix: rows × features CSR of finite float32 weights.
        encoding: the meaning of the columns; it encodes new rows.
    """

    matrix: CSR
    encoding: Encoding

    def __post_init__(self) -> None:
        if self.matrix.shape[1] != self.encoding.table.height:
            raise DataError(
                f"a matrix of shape {self.matrix.shape} (rows × features) does not fit "
                f"{self.encoding.table.height:,} features{_transpose_hint(self)}"
            )

    @property
    def names(self) -> list[str]:
        """The names of the features, in the order of the columns."""
        return self.encoding.names

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __repr__(self) -> str:
        return f"Features({len(self):,} rows × {self.matrix.shape[1]:,} features)"

    @classmethod
    def from_frame(
        cls,
        frame: object,
        columns: str | Iterable[str],
        *,
        ids: IdMap,
        id: str | None = None,  # noqa: A002
        identity: bool = True,
        normalize: bool = True,
        separator: str = "|",
    ) -> Features:
        """Encode columns of a frame (polars, pandas, pyarrow, …) as features.

        A column of text, lists, categories or booleans becomes one feature per value; a text can hold several
        values (`Comedy|Drama`). A column of numbers becomes one feature, standardized to mean 0 and deviation
        1, with missing numbers at the mean. Cast numbers that are names to text first.

        Args:
            frame: one row per user or item.
            columns: the names of the columns to encode.
            ids: the users or items of the features, such as `data.items`.
            id: the column of ids in the frame. Rows with unknown ids are ignored, and ids without a row have
                only their identity feature. None: the rows of the frame are in the order of `ids`.
            identity: also give each user or item a feature of its own, as models without features do.
            normalize: scale the weights of each row to a sum of absolute values of 1.
            separator: the separator of several values in a text.

        Raises:
            DataError: a column is missing, a number is infinite, an id has two rows, the rows do not fit the
                ids, or there are no features.
            SettingError: a column has the name of the identity, "id".
        """
        names = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
        if IDENTITY in names:
            raise SettingError(
                f"a column cannot have the name {IDENTITY!r} of identity features; rename it, or pass "
                "identity=True instead",
                arguments=("identity",),
            )
        table = _read_columns(frame, list(dict.fromkeys([*names, *([] if id is None else [id])])))
        aligned = align_rows(table, ids, id).select(names)
        encoding = Encoding(_features_of(aligned, ids if identity else None, separator), separator, normalize)
        if not encoding.table.height:
            raise DataError(f"there are no features in {', '.join(map(repr, names)) or 'no columns'}")
        return cls(encoding.encode(aligned, ids.series), encoding)

    @classmethod
    def from_csr(cls, matrix: sp.sparray | sp.spmatrix, names: Iterable[str] | None = None) -> Features:
        """Use a sparse matrix (rows × features) as features.

        Args:
            matrix: the weights; they are not normalized.
            names: the names of the columns; None: 0, 1, ….

        Raises:
            DataError: a weight is not finite, or the names do not fit.
        """
        csr = clean_csr(matrix, column="feature")
        values = list(map(str, range(csr.shape[1]) if names is None else names))
        columns = {"column": ["feature"] * len(values), "value": values, "mean": None, "scale": None}
        return cls(csr, Encoding(pl.DataFrame(columns, schema=SCHEMA), normalize=False))


def _read_columns(frame: object, columns: list[str]) -> pl.DataFrame:
    table = open_frame(frame)
    for name in columns:
        if name not in table.columns:
            raise DataError(
                f"there is no column {name!r} for features; the columns are {', '.join(table.columns)}"
            )
    return table.read(columns, ())


def align_rows(frame: pl.DataFrame, ids: IdMap, column: str | None) -> pl.DataFrame:
    """Return the rows of a frame in the order of `ids`, with nulls for ids without a row.

    Args:
        frame: any columns.
        ids: the ids to align to.
        column: the column of ids; None: the rows are in the order of `ids` already.

    Raises:
        DataError: no id of the column is known, an id has two rows, or the number of rows differs.
    """
    if column is None:
        if frame.height != len(ids):
            raise DataError(
                f"{frame.height:,} rows of features do not fit {len(ids):,} {ids.noun}s; "
                "name the column of their ids (id=)",
                arguments=("id",),
            )
        return frame
    rows = ids.rows(clean_ids(frame[column], ids.noun))
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        sample = ", ".join(repr(value) for value in frame[column].head(3))
        raise DataError(
            f"none of the {frame.height:,} ids in {column!r} is a known {ids.noun}, such as {sample}"
        )
    counts = np.bincount(rows[known], minlength=len(ids))
    if (counts > 1).any():
        raise DataError(
            f"the {ids.noun} {ids[int(np.argmax(counts > 1))]!r} has more than one row of features; keep one"
        )
    positions = np.full(len(ids), -1, np.int64)
    positions[rows[known]] = known
    return frame.select(pl.all().gather(pl.Series(positions).replace(-1, None)))


def _features_of(frame: pl.DataFrame, ids: IdMap | None, separator: str) -> pl.DataFrame:
    """Return the table of an encoding: the identity first, then the columns with sorted values."""
    parts = [pl.DataFrame(schema=SCHEMA)]
    if ids is not None:
        parts.append(_value_rows(IDENTITY, ids.series.cast(pl.String)))
    for series in frame:
        if series.dtype.is_numeric():
            known = _numbers(series).drop_nulls()
            mean, deviation = (float(known.mean()), float(known.std(ddof=0))) if known.len() else (0.0, 0.0)  # type: ignore[arg-type]
            row = {"column": [series.name], "value": [None], "mean": [mean], "scale": [deviation or 1.0]}
            parts.append(pl.DataFrame(row, schema=SCHEMA))
        else:
            parts.append(_value_rows(series.name, _cells(series, separator)["value"].unique().sort()))
    return pl.concat(parts)


def _value_rows(column: str, values: pl.Series) -> pl.DataFrame:
    null = pl.lit(None, pl.Float64)
    return pl.DataFrame({"value": values}).select(
        pl.lit(column).alias("column"), "value", null.alias("mean"), null.alias("scale")
    )


def _cells(series: pl.Series, separator: str) -> pl.DataFrame:
    """Return the distinct values of each row of a column, one per row of the result: row, column, value."""
    if isinstance(series.dtype, (pl.List, pl.Array)):
        lists = series.to_frame("value")
    elif series.dtype == pl.String:
        lists = series.str.split(separator).to_frame("value")
    else:
        lists = series.cast(pl.String).reshape((-1, 1)).cast(pl.List(pl.String)).to_frame("value")
    cells = lists.with_columns(pl.int_range(pl.len()).alias("row")).explode("value").drop_nulls()
    texts = cells.with_columns(pl.col("value").cast(pl.String).str.strip_chars())
    values = texts.filter(pl.col("value") != "").unique(["row", "value"], maintain_order=True)
    return _cell_frame(series.name, values["row"].to_numpy(), values["value"])


def _cell_frame(column: str, rows: np.ndarray, values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.astype(np.int64), "value": values}).select(
        "row", pl.lit(column).alias("column"), "value"
    )


def _numbers(series: pl.Series) -> pl.Series:
    """Return float64 numbers, null where missing (NaN in pandas); infinity is an error."""
    numbers = series.cast(pl.Float64, strict=False)
    bad = numbers.is_infinite().fill_null(value=False) | (numbers.is_null() & series.is_not_null())
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(f"{series.name!r} in row {row + 1} is {series[row]!r}; it must be a finite number")
    return numbers.fill_nan(None)


def _normalize_rows(matrix: CSR) -> CSR:
    sums = np.asarray(abs(matrix).sum(1)).ravel()
    scaled = sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ matrix
    return sp.csr_matrix(scaled, dtype=np.float32)


def _transpose_hint(features: Features) -> str:
    swapped = features.matrix.shape[0] == features.encoding.table.height
    return ": the rows are features here, so pass matrix.T" if swapped else ""
