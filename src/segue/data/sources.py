"""Read interactions, items and tables from files, frames, matrices and databases."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data import movielens
from segue.data.assembly import from_frame
from segue.data.columns import ALIASES, describe_columns, find_alias, find_columns, normalize_name
from segue.data.delimited import open_delimited
from segue.data.ids import Id, IdMap
from segue.data.interactions import Interactions, from_csr
from segue.data.json_lines import SUFFIXES, open_json
from segue.data.sql import open_query
from segue.data.tables import Source, Table, open_frame, open_parquet
from segue.errors import DataError, SettingError

PARQUET, COMPRESSED = b"PAR1", (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78")  # gzip, zstd, zlib
log = logging.getLogger("segue")


def read_interactions(
    source: Source,
    *,
    user: str | None = None,
    item: str | None = None,
    weight: str | None = None,
    time: str | None = None,
    min_weight: float | None = None,
    duplicates: str = "sum",
    core: int | tuple[int, int] | None = None,
    query: str | None = None,
    items: Source = None,
    user_ids: Iterable[Id] | None = None,
    item_ids: Iterable[Id] | None = None,
) -> Interactions:
    """Read interactions from a file, a frame, a matrix or a database.

    Args:
        source: the path of a CSV or TSV (plain, .gz, .zst), Parquet or JSON file; a MovieLens folder or its
            ratings file (its movies become item metadata); a frame of polars, pandas, pyarrow, DuckDB or
            another library with Arrow C streams; a users × items scipy.sparse matrix; `sqlite:///file.db` or
            `postgresql://user:password@host/database` with `query`; or `Interactions`, returned unchanged.
        user, item, weight, time: the names of the columns; None: find them by their usual names.
        min_weight: drop interactions with a lower weight; None: keep all.
        duplicates: "sum" the weights of rows of the same user and item, or keep the "last" or the "max".
        core: keep users and items with at least this many interactions (one number, or a pair for users and
            items).
        query: the SELECT statement for a database.
        items: the path or frame of item metadata, with a column of item ids.
        user_ids, item_ids: the ids of the rows and columns of a matrix; None: 0..n-1.

    Ids in text files are integers only if all ids of the column are ("007" is not). Errors count rows from 1,
    without the header line and blank lines.

    Raises:
        DataError: the source cannot be read, or a value is invalid.
        SettingError: an argument does not fit the source.
        MissingExtraError: PostgreSQL without psycopg, or a pandas frame without pyarrow.
    """
    named = {"user": user, "item": item, "weight": weight, "time": time}
    if isinstance(source, Interactions) or sp.issparse(source):
        data = _from_matrix(source, {**named, "query": query}, min_weight, user_ids, item_ids)
        item_column = None
    else:
        _reject(
            {"user_ids": user_ids, "item_ids": item_ids}, "is only for a matrix, which has no ids of its own"
        )
        data, item_column = _from_table(source, query, named, duplicates, min_weight)
        items = _find_movies(source) if items is None else items
    if core is not None:
        data = data.core(*((core, core) if isinstance(core, int) else core))
    return data if items is None else _with_items(data, items, item_column)


def read_items(source: Source, *, item: str | None = None, query: str | None = None) -> Interactions:
    """Read items with metadata and without interactions, such as for `Recommender(Text(columns="title"))`.

    Args:
        source: a source of `read_interactions` other than a matrix, or a `movies.csv` of MovieLens.
        item: the column of item ids; None: find it by its usual names.
        query: the SELECT statement for a database.

    Returns:
        Interactions without users, with `item_metadata`.

    Raises:
        DataError: the table has no items, or an id has two rows.
    """
    table = _items_table(source, item) if query is None else read_table(source, query=query)
    name = str(source) if isinstance(source, (str, Path)) else "the frame of items"
    column = _item_column(table, item, name)
    if not table.height:
        raise DataError(f"{name} has no items (0 rows)")
    try:
        items = IdMap(table[column], noun="item")
        no_users = IdMap(pl.Series([], dtype=pl.Int64), noun="user")
        data = Interactions(sp.csr_matrix((0, len(items)), dtype=np.float32), no_users, items)
        return data.with_metadata(table, column)
    except DataError as error:
        raise _with_source(error, name) from None


def read_table(source: Source, *, query: str | None = None, ids: Collection[str] = ()) -> pl.DataFrame:
    """Read all columns of a table, such as features.

    A column of a text file becomes integers or floats if all its values are; a column of ids becomes integers
    or keeps its text.

    Args:
        source: a source of `read_interactions` other than a matrix.
        query: the SELECT statement for a database.
        ids: the columns of ids, beside those with a usual name of ids.

    Raises:
        DataError: the source cannot be read.
    """
    with _open(source, query) as table:
        known = {*ALIASES["user"], *ALIASES["item"]}
        id_columns = [column for column in table.columns if column in ids or normalize_name(column) in known]
        return table.read(table.columns, id_columns)


@contextmanager
def _open(source: Source, query: str | None) -> Iterator[Table]:
    if isinstance(source, str) and "://" in source:
        with open_query(source, query) as table:
            yield table
        return
    _reject({"query": query}, "is only for a database, such as sqlite:///file.db")
    if isinstance(source, (str, Path)):
        yield _open_path(Path(source))
    elif isinstance(source, pl.LazyFrame) or hasattr(source, "__arrow_c_stream__"):
        yield open_frame(source)
    else:
        raise DataError(
            f"{type(source).__name__} is not a supported source; pass the path of a CSV, TSV or Parquet "
            "file, a MovieLens folder, a polars, pandas, pyarrow or DuckDB frame, a scipy.sparse matrix, "
            "or a database URL with query=",
            arguments=("query",),
        )


def _open_path(path: Path) -> Table:
    if not path.exists():
        raise DataError(f"there is no file {path}")
    ratings = movielens.find_ratings(path)
    if ratings is not None:
        return movielens.open_ratings(ratings)
    if path.is_dir():
        files = ", ".join(movielens.MOVIES)
        raise DataError(f"the folder {path} is not MovieLens: it has none of {files}; name a file")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    if start.startswith(PARQUET) or path.suffix in (".parquet", ".pq"):
        return open_parquet(path)
    if path.name.lower().endswith(SUFFIXES):
        return open_json(path)
    if b"\0" in start and not start.startswith(COMPRESSED):
        raise DataError(f"{path} is neither Parquet nor text in UTF-8; save it as one of them")
    return open_delimited(path)


def _from_table(
    source: Source,
    query: str | None,
    named: dict[str, str | None],
    duplicates: str,
    min_weight: float | None,
) -> tuple[Interactions, str]:
    """Return the interactions of a table, and the name of its column of item ids."""
    with _open(source, query) as table:
        columns = find_columns(table.columns, named, table.name)
        log.info("%s: %s", table.name, ", ".join(f"{role} = {column}" for role, column in columns.items()))
        frame = table.read(list(columns.values()), (columns["user"], columns["item"]))
    frame = frame.select(pl.col(column).alias(role) for role, column in columns.items())
    try:
        return from_frame(frame, duplicates=duplicates, min_weight=min_weight), columns["item"]
    except DataError as error:
        raise _with_source(error, table.name) from None


def _from_matrix(
    source: Source,
    table_arguments: dict[str, str | None],
    min_weight: float | None,
    users: Iterable[Id] | None,
    items: Iterable[Id] | None,
) -> Interactions:
    _reject(table_arguments, "is only for a table, not for a matrix")
    if isinstance(source, Interactions):
        _reject({"user_ids": users, "item_ids": items}, "is only for a matrix; interactions have ids")
        data = source
    else:
        data = from_csr(source, users=users, items=items)
    if min_weight is None:
        return data
    selected = data.where(data.matrix.data >= min_weight)
    if not len(selected):
        raise DataError(
            f"no interaction is left: none of {len(data):,} has a weight of at least {min_weight}",
            arguments=("min_weight",),
        )
    return selected


def _find_movies(source: object) -> pl.DataFrame | None:
    """Return the movies of MovieLens ratings, None for another source."""
    if not isinstance(source, (str, Path)) or (isinstance(source, str) and "://" in source):
        return None
    ratings = movielens.find_ratings(Path(source))
    return None if ratings is None else movielens.find_movies(ratings)


def _with_items(data: Interactions, items: Source, item_column: str | None) -> Interactions:
    """Attach item metadata; `item_column` is the column of item ids in the interactions."""
    name = str(items) if isinstance(items, (str, Path)) else "the frame of items"
    table = _items_table(items, item_column)
    column = _item_column(table, item_column if item_column in table.columns else None, name)
    try:
        data = data.with_metadata(table, column)
    except DataError as error:
        raise _with_source(error, name) from None
    if not (data.items.rows(table[column]) >= 0).any():
        sample = ", ".join(repr(value) for value in table[column].head(3))
        raise DataError(
            f"{name} knows none of the {len(data.items):,} items, such as {data.items[0]!r}; "
            f"its column {column!r} has {sample}",
            arguments=("items",),
        )
    return data


def _item_column(table: pl.DataFrame, named: str | None, source: str) -> str:
    """Return the column of item ids: the named one, or the one with the most likely name."""
    if named is not None:
        if named not in table.columns:
            raise DataError(
                f"{source} has no column {named!r} (requested by item=); {describe_columns(table.columns)}",
                arguments=("item",),
            )
        return named
    column = find_alias(table.columns, "item", source)
    if column is None:
        column = next((name for name in table.columns if normalize_name(name) == "id"), None)
    if column is None:
        raise DataError(f"{source} has no column that looks like item ids; {describe_columns(table.columns)}")
    return column


def _items_table(items: Source, item_column: str | None) -> pl.DataFrame:
    if isinstance(items, str) and "://" in items:
        raise SettingError(
            "items= is a path or a frame; for a database, pass items=read_table(url, query=...)",
            arguments=("items",),
        )
    if isinstance(items, (str, Path)) and Path(items).is_file():
        movies = movielens.read_movies(Path(items))
        if movies is not None:
            return movies
    return read_table(items, ids=() if item_column is None else (item_column,))


def _reject(arguments: Mapping[str, object], reason: str) -> None:
    """Raise `SettingError` if one of the arguments is given."""
    for name, value in arguments.items():
        if value is not None:
            raise SettingError(f"{name}= {reason}", arguments=(name,))


def _with_source(error: DataError, name: str) -> DataError:
    """Return the error with the name of the source before its message."""
    return DataError(f"{name}: {error}", arguments=error.arguments)
