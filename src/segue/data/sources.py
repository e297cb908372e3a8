"""Where interactions come from: files, frames, matrices and databases, all read by one function."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data import movielens
from segue.data.columns import ALIASES, alias_of, find_columns, listed, plain
from segue.data.delimited import open_delimited
from segue.data.ids import Id, IdMap
from segue.data.interactions import Interactions, from_csr, from_frame
from segue.data.json_lines import SUFFIXES, open_json
from segue.data.sql import open_query
from segue.data.tables import Table, open_frame, open_parquet
from segue.errors import DataError, SettingError

PARQUET, COMPRESSED = b"PAR1", (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78")  # gzip, zstd, zlib
log = logging.getLogger("segue")


def read_interactions(
    source: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    weight: str | None = None,
    time: str | None = None,
    min_weight: float | None = None,
    duplicates: str = "sum",
    core: int | tuple[int, int] | None = None,
    query: str | None = None,
    items: Any = None,
    user_ids: Iterable[Id] | None = None,
    item_ids: Iterable[Id] | None = None,
) -> Interactions:
    """Read who had to do with what, from nearly anything that holds it.

    Args:
        source: the path of a CSV or TSV (plain, .gz, .zst), Parquet or JSON file; a MovieLens folder, or its
            ratings file, whose movies come along as item metadata; a frame of polars, pandas, pyarrow, DuckDB
            or any other library with the Arrow C stream; a users × items scipy.sparse matrix;
            `sqlite:///file.db` or `postgresql://user:password@host/database` with `query`. Interactions are
            taken as they are.
        user, item, weight, time: the columns; those not named are found by names that they usually have.
        min_weight: leave out what weighs less.
        duplicates: rows of the same user and item are summed ("sum"), or the "last" or the "max" is kept.
        core: keep users and items with at least so many interactions (one number, or users and items).
        query: the SELECT to run, for a database.
        items: the path or frame of what is known of the items, with a column of their ids.
        user_ids, item_ids: the ids of a matrix's rows and columns; 0..n-1 where not given.

    Ids in text files are integers only if every one of the file is written as one ("007" is not). Errors
    count rows from 1, without the line of column names and without blank lines.

    Raises:
        DataError: the source cannot be read, or holds what interactions cannot be.
        SettingError: an argument that does not fit the source.
        MissingExtraError: PostgreSQL without psycopg, or a pandas frame without pyarrow.
    """
    named = {"user": user, "item": item, "weight": weight, "time": time}
    if isinstance(source, Interactions) or sp.issparse(source):
        made = _from_matrix(source, {**named, "query": query}, min_weight, user_ids, item_ids)
        item_column = None
    else:
        _refuse(
            {"user_ids": user_ids, "item_ids": item_ids},
            "is for a matrix, whose rows have no ids of their own",
        )
        with _open(source, query) as table:
            columns = find_columns(table.columns, named, table.name)
            log.info(
                "%s: %s", table.name, ", ".join(f"{part} = {column}" for part, column in columns.items())
            )
            frame = table.read(list(columns.values()), (columns["user"], columns["item"]))
        item_column = columns["item"]
        frame = frame.select(pl.col(column).alias(part) for part, column in columns.items())
        try:
            made = from_frame(frame, duplicates=duplicates, min_weight=min_weight)
        except DataError as error:
            raise DataError(f"{table.name}: {error}") from None
        items = _beside(source) if items is None else items
    if core is not None:
        made = made.core(*((core, core) if isinstance(core, int) else core))
    return made if items is None else _with_items(made, items, item_column)


def read_items(source: Any, *, item: str | None = None, query: str | None = None) -> Interactions:
    """Read what is known of items that nobody has had yet: interactions of no users, with item metadata.

    `Recommender(Text(columns="title,genres"))` learns from them. `source` and `query` are as for
    `read_interactions`, or a `movies.csv` of MovieLens; `item` is the column of ids, found by its name if it
    is not named. Raises `DataError` for a table without items, and ids that stand in two rows.
    """
    table = _items_table(source, item) if query is None else read_table(source, query=query)
    name = str(source) if isinstance(source, (str, Path)) else "the frame of items"
    column = _item_column(table, item, name)
    if not table.height:
        raise DataError(f"{name} has no rows: there are no items in it")
    try:
        items = IdMap(table[column], noun="item")
        nobody = IdMap(pl.Series([], dtype=pl.Int64), noun="user")
        made = Interactions(sp.csr_matrix((0, len(items)), dtype=np.float32), nobody, items)
        return made.with_metadata(table, column)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def read_table(source: Any, *, query: str | None = None, ids: Collection[str] = ()) -> pl.DataFrame:
    """Read a whole table, such as features: any source of `read_interactions` but a matrix.

    Columns of a text file become integers or numbers where every value is written as one; columns of `ids`,
    and those named as ids usually are, become integers or keep their text.
    """
    with _open(source, query) as table:
        known = {*ALIASES["user"], *ALIASES["item"]}
        kept = [column for column in table.columns if column in ids or plain(column) in known]
        return table.read(table.columns, kept)


@contextmanager
def _open(source: Any, query: str | None) -> Iterator[Table]:
    if isinstance(source, str) and "://" in source:
        with open_query(source, query) as table:
            yield table
        return
    _refuse({"query": query}, "is for a database, such as sqlite:///file.db")
    if isinstance(source, (str, Path)):
        yield _open_path(Path(source))
    elif isinstance(source, pl.LazyFrame) or hasattr(source, "__arrow_c_stream__"):
        yield open_frame(source)
    else:
        raise DataError(
            f"{type(source).__name__} is no source; pass the path of a CSV, TSV or Parquet file, "
            "a MovieLens folder, a polars, pandas, pyarrow or DuckDB frame, a scipy.sparse matrix, "
            "or a database URL with query="
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


def _from_matrix(
    source: Any,
    unfit: dict[str, str | None],
    min_weight: float | None,
    users: Iterable[Id] | None,
    items: Iterable[Id] | None,
) -> Interactions:
    _refuse(unfit, "is for a table, and this is a matrix")
    if isinstance(source, Interactions):
        _refuse({"user_ids": users, "item_ids": items}, "is for a matrix, and interactions have ids")
        made = source
    else:
        made = from_csr(source, users=users, items=items)
    if min_weight is None:
        return made
    kept = made.where(made.matrix.data >= min_weight)
    if not len(kept):
        raise DataError(
            f"no interaction is left: none of {len(made):,} has a weight of at least {min_weight}"
        )
    return kept


def _beside(source: Any) -> pl.DataFrame | None:
    """The movies that belong to MovieLens ratings."""
    if not isinstance(source, (str, Path)) or (isinstance(source, str) and "://" in source):
        return None
    ratings = movielens.find_ratings(Path(source))
    return None if ratings is None else movielens.movies_beside(ratings)


def _with_items(made: Interactions, items: Any, like: str | None) -> Interactions:
    """Attach the metadata; `like` is what the ids' column is called in the interactions."""
    name = str(items) if isinstance(items, (str, Path)) else "the frame of items"
    table = _items_table(items, like)
    column = _item_column(table, like if like in table.columns else None, name)
    try:
        made = made.with_metadata(table, column)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    if not (made.items.rows(table[column]) >= 0).any():
        sample = ", ".join(repr(one) for one in table[column].head(3))
        raise DataError(
            f"{name} knows none of the {len(made.items):,} items, such as {made.items[0]!r}; "
            f"its column {column!r} has {sample}"
        )
    return made


def _item_column(table: pl.DataFrame, named: str | None, source: str) -> str:
    """The column of item ids: the one that is named, or the one whose name is the likeliest."""
    if named is not None:
        if named not in table.columns:
            raise DataError(f"{source} has no column {named!r} (asked for as item=); {listed(table.columns)}")
        return named
    column = alias_of(table.columns, "item", source)
    if column is None:
        column = next((one for one in table.columns if plain(one) == "id"), None)
    if column is None:
        raise DataError(f"{source} has no column that looks like item ids; {listed(table.columns)}")
    return column


def _items_table(items: Any, like: str | None) -> pl.DataFrame:
    if isinstance(items, str) and "://" in items:
        raise SettingError(
            "items= is a path or a frame; for a database, pass items=read_table(url, query=...)"
        )
    if isinstance(items, (str, Path)) and Path(items).is_file():
        movies = movielens.read_movies(Path(items))
        if movies is not None:
            return movies
    return read_table(items, ids=() if like is None else (like,))


def _refuse(given: dict[str, Any], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise SettingError(f"{name}= {why}")
