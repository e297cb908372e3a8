"""Exact search over more items than one machine holds: shards by norm, built and searched on the hosts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from segue import store
from segue.errors import CorruptModelError, DataError, NotAModelError, SettingError
from segue.index.checks import check_k
from segue.index.exact import Exact
from segue.spark.host import Place, batches, frames, opened
from segue.spark.session import check_spark
from segue.spark.write import stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MANIFEST = "shards.json"
FORMAT = 1
BLOCK = 65_536  # queries that go past the shards together, …
CELLS = 8_000_000  # … if all their answers are no more than these
ROUNDING = 1e-5  # by which a product may exceed the norms' in float32, relatively
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Shard:
    """One shard: where it is, how many vectors it has, and the largest of their norms."""

    name: str
    version: str
    items: int
    norm: float


@dataclass(frozen=True)
class Shards:
    """All shards of a folder, those with the largest norms first."""

    folder: str
    dim: int
    kind: str
    shards: tuple[Shard, ...]

    def __len__(self) -> int:
        return sum(shard.items for shard in self.shards)


def build_shards(
    items: DataFrame, folder: str | Path, shards: int, *, item: str = "item_id", vector: str = "vector"
) -> Shards:
    """Build an exact index of each shard where its vectors are, in a folder that all hosts see.

    The vectors are spread by their norms; each task writes one shard, and only a line about it comes back.
    Raises `DataError` for columns that are missing or of the wrong kind, null or repeated ids, and vectors of
    mixed length; the job fails for values that are not finite.

    Args:
        items: a frame of ids and vectors, an array of floats each.
        folder: a path of shared storage; new, or empty.
        shards: how many, at most.
        item, vector: the names of the columns.
    """
    check_spark()
    check_k(shards, "shards")
    from pyspark.sql import functions

    folder = Path(folder).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise SettingError(f"{folder} is not empty; name a new folder for the shards")
    kind = _check_columns(items, item, vector)
    norm = functions.sqrt(functions.aggregate(
        functions.transform(items[vector], lambda value: value * value),
        functions.lit(0.0), lambda total, value: total + value,
    ))  # fmt: skip
    rows = items.select(items[item].alias("id"), items[vector].alias("vector"), norm.alias("norm"))
    with stage("ids checked"):
        _check_ids(rows)
    spread = rows.repartitionByRange(shards, functions.desc("norm"))
    columns = "name string, version string, items long, norm double, dim int"
    with stage("shards built"):
        told = spread.mapInArrow(lambda found: _build(found, str(folder)), columns).collect()
    dims = {row.dim for row in told}
    if not told:
        raise DataError("there are no vectors to build shards of")
    if len(dims) > 1:
        raise DataError(f"vectors of different shards have different lengths: {sorted(dims)}")
    made = sorted((Shard(row.name, row.version, row.items, row.norm) for row in told), key=lambda s: -s.norm)
    found = Shards(str(folder), dims.pop(), kind, tuple(made))
    _write_manifest(found)
    log.info("%s vectors in %s shards in %s", f"{len(found):,}", len(made), folder)
    return found


def open_shards(folder: str | Path) -> Shards:
    """Read the manifest of a folder of shards; raises `NotAModelError` or `CorruptModelError`."""
    path = Path(folder).absolute() / MANIFEST
    if not path.is_file():
        raise NotAModelError(f"{folder} holds no {MANIFEST}; name the folder that build_shards wrote")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("format") != FORMAT:
            raise ValueError("of another format")
        return Shards(
            **{**told, "folder": str(path.parent), "shards": tuple(Shard(**one) for one in told["shards"])}
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptModelError(f"{path} is damaged ({error!r}); build the shards again") from error


def search_shards(
    queries: DataFrame, folder: str | Path, k: int = 10, *, query: str = "query_id", vector: str = "vector"
) -> DataFrame:
    """Find the k best items of each query by inner product: a lazy frame of query_id, item_id, score, rank.

    Each task takes blocks of queries past the shards, those with the largest norms first, and keeps the k
    best of each query. A query leaves out the shards whose largest norm, by Cauchy and Schwarz, cannot beat
    its k-th score. Rows are the same as those of `Exact` over all items in the order of their ids: score
    descending, then id ascending.

    Args:
        queries: a frame of distinct ids and vectors.
        folder: what `build_shards` wrote.
        k: items for each query.
        query, vector: the names of the columns.
    """
    check_spark()
    check_k(k)
    found = open_shards(folder)
    kind = _check_columns(queries, query, vector)
    asked = queries.select(queries[query].alias("query_id"), queries[vector].alias("vector"))
    tasks = 4 * queries.sparkSession.sparkContext.defaultParallelism
    schema = f"query_id {kind}, item_id {found.kind}, score float, rank int"
    return asked.repartition(tasks, "query_id").mapInArrow(lambda rows: _answers(rows, found, k), schema)


def _check_columns(frame: DataFrame, ids: str, vector: str) -> str:
    """The kind of the ids, where both columns are there and of kinds that can be used."""
    kinds = dict(frame.dtypes)
    for name in (ids, vector):
        if name not in kinds:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(frame.columns)}")
    if kinds[vector] not in ("array<float>", "array<double>"):
        raise DataError(f"the column {vector!r} must hold arrays of floats, not {kinds[vector]}")
    if kinds[ids] not in ("string", "bigint", "int", "smallint", "tinyint"):
        raise DataError(f"the column {ids!r} must hold strings or integers, not {kinds[ids]}; cast it first")
    return kinds[ids]


def _check_ids(rows: DataFrame) -> None:
    from pyspark.sql import functions

    told = rows.agg(
        functions.count(functions.lit(1)).alias("rows"), functions.count("id").alias("known"),
        functions.count_distinct("id").alias("distinct"),
    ).collect()[0]  # fmt: skip
    if told.known < told.rows:
        raise DataError(f"{told.rows - told.known:,} of {told.rows:,} item ids are null; drop these rows")
    if told.distinct < told.rows:
        raise DataError(
            f"{told.rows - told.distinct:,} of {told.rows:,} item ids are repeated; keep one row of each"
        )


def _matrix(vectors: pl.Series, dim: int | None) -> np.ndarray:
    """Vectors (n, dim) float32 of a column of lists."""
    if vectors.null_count():
        raise DataError(f"{vectors.null_count():,} vectors are null")
    lengths = vectors.list.len().unique()
    wanted = int(lengths[0]) if dim is None else dim
    if len(lengths) != 1 or int(lengths[0]) != wanted:
        raise DataError(f"vectors of {sorted(lengths)} dimensions came; all must have {wanted}")
    return vectors.explode().to_numpy().astype(np.float32).reshape(-1, wanted)


def _build(found: Iterable[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """Build and write the shard of one partition."""
    parts = list(frames(found))
    if not parts:
        return
    rows = pl.concat(parts).sort("id")  # so that equal scores are in the order of ids
    vectors = _matrix(rows["vector"], None)
    from pyspark import TaskContext

    context = TaskContext.get()
    name = f"shard-{0 if context is None else context.partitionId():05d}"
    index = Exact().build(vectors)
    arrays = {f"index.{key}": array for key, array in index.arrays().items()}
    path = Path(folder, name)
    version = store.write(path, arrays, {"items": rows.select("id")}, {"dim": vectors.shape[1]})
    told = {
        "name": [name], "version": [version], "items": [len(rows)],
        "norm": [float(np.linalg.norm(vectors.astype(np.float64), axis=1).max())], "dim": [vectors.shape[1]],
    }  # fmt: skip
    made = pl.DataFrame(told).with_columns(pl.col("dim").cast(pl.Int32))
    yield from batches(made, made.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _answers(found: Iterable[pa.RecordBatch], shards: Shards, k: int) -> Iterator[pa.RecordBatch]:
    """The rows of the queries of one task."""
    for rows in _blocks(frames(found), max(1, min(BLOCK, CELLS // k))):
        if rows["query_id"].null_count():
            raise DataError(f"{rows['query_id'].null_count():,} query ids are null; drop these rows")
        best = _best(_matrix(rows["vector"], shards.dim), shards, k)
        query, column = np.nonzero(np.isfinite(best.scores))
        made = pl.DataFrame(
            {
                "query_id": rows["query_id"].gather(query),
                "item_id": best.ids.gather(query * k + column),
                "score": best.scores[query, column],
                "rank": (column + 1).astype(np.int32),
            }
        )
        yield from batches(made, made.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _blocks(parts: Iterable[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """Frames put together, and divided, into frames of `size` rows; the last has fewer."""
    waiting: list[pl.DataFrame] = []
    for part in parts:
        waiting.append(part)
        while sum(map(len, waiting)) >= size:
            whole = pl.concat(waiting)
            yield whole[:size]
            waiting = [whole[size:]]
    if sum(map(len, waiting)):
        yield pl.concat(waiting)


class Best(NamedTuple):
    """The best items of q queries so far: scores (q, k), -inf where there is none, and ids, row by row."""

    scores: np.ndarray
    ids: pl.Series


def _best(vectors: np.ndarray, shards: Shards, k: int) -> Best:
    """Search the shards one after another, each for the queries that may find something in it."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1) * (1 + ROUNDING)
    best = Best(np.full((len(vectors), k), -np.inf, np.float32), pl.Series([], dtype=pl.Null))
    for shard in shards.shards:
        asking = np.flatnonzero(lengths * shard.norm >= best.scores[:, -1])
        if not len(asking):
            break  # the norms of later shards are no larger
        at = Place(os.path.join(shards.folder, shard.name), shard.version)  # noqa: PTH118
        index, ids = opened(at, _load_shard)
        found = index.search(vectors[asking], k)
        names = ids.gather(np.where(found.ids < 0, 0, found.ids).ravel())
        scores = np.where(found.ids < 0, -np.inf, found.scores).astype(np.float32)
        best = _merged(best, asking, Best(scores, names))
    return best


def _merged(best: Best, asking: np.ndarray, found: Best) -> Best:
    """The k best of both for the queries that asked: score descending, then id ascending."""
    count, k = best.scores.shape
    if not len(best.ids):
        return found  # of the first shard, which all ask
    mine = (asking[:, None] * k + np.arange(k)).ravel()
    ids = pl.concat([best.ids.gather(mine), found.ids])
    ranks = ids.rank("dense").to_numpy().reshape(2, len(asking), k)
    scores = np.concatenate([best.scores[asking], found.scores], 1)
    order = np.lexsort((np.concatenate([*ranks], 1), -scores))[:, :k]
    best.scores[asking] = np.take_along_axis(scores, order, 1)
    # Where the ids of `order` stand: first all those of before, row by row, then all that were found.
    places = np.arange(count * k).reshape(count, k)
    added = len(best.ids) + np.arange(len(asking) * k).reshape(-1, k)
    places[asking] = np.take_along_axis(np.concatenate([places[asking], added], 1), order, 1)
    return Best(best.scores, pl.concat([best.ids, found.ids]).gather(places.ravel()))


def _load_shard(path: Path, version: str) -> tuple[Any, pl.Series]:
    stored = store.open_model(path, version)
    try:
        arrays = {name.removeprefix("index."): array for name, array in stored.arrays.items()}
        return Exact().from_arrays(arrays), stored.tables["items"]["id"]
    except KeyError as error:
        raise CorruptModelError(f"{stored.path} is no shard: it has no {error}") from error


def _write_manifest(found: Shards) -> None:
    path = Path(found.folder, MANIFEST)
    told = {"format": FORMAT, **{name: value for name, value in asdict(found).items() if name != "folder"}}
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(told, indent=1), encoding="utf-8")
    draft.replace(path)
