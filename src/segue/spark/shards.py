"""Exact search over more items than one machine holds: shards by norm, built and searched on the hosts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from segue import store
from segue.errors import CorruptModelError, DataError, NotAModelError, SettingError
from segue.index.exact import Exact
from segue.index.neighbors import check_k
from segue.spark.host import Place, batches, frames, opened
from segue.spark.session import check_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MANIFEST = "shards.json"
FORMAT = 1
BLOCK = 16_384  # queries that go through a shard together
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
    _check_ids(rows)
    spread = rows.repartitionByRange(shards, functions.desc("norm"))
    told = spread.mapInArrow(
        lambda found: _build(found, str(folder)),
        "name string, version string, items long, norm double, dim int",
    ).collect()
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

    The first shard, with the largest norms, is searched for all queries. Of the others, a query visits only
    those whose largest norm, by Cauchy and Schwarz, could still beat its k-th score. Rows are the same as
    those of `Exact` over all items in the order of their ids: score descending, then id ascending.

    Args:
        queries: a frame of distinct ids and vectors.
        folder: what `build_shards` wrote.
        k: items for each query.
        query, vector: the names of the columns.
    """
    check_spark()
    check_k(k)
    from pyspark.sql import functions

    found = open_shards(folder)
    _check_columns(queries, query, vector)
    asked = queries.select(queries[query].alias("query_id"), queries[vector].alias("vector"))
    tasks = 4 * queries.sparkSession.sparkContext.defaultParallelism
    asked = asked.repartition(tasks, "query_id")
    kind = dict(asked.dtypes)["query_id"]
    schema = f"query_id {kind}, item_id {found.kind}, score float"
    first = asked.withColumn("shard", functions.lit(0)).mapInArrow(_searching(found, k), schema)
    if len(found.shards) > 1:
        kth = first.groupBy("query_id").agg(
            functions.min("score").alias("least"), functions.count("score").alias("count")
        )
        norm = functions.sqrt(functions.aggregate(
            functions.transform("vector", lambda value: value * value),
            functions.lit(0.0), lambda total, value: total + value,
        ))  # fmt: skip
        rest = queries.sparkSession.createDataFrame(
            [(place, shard.norm) for place, shard in enumerate(found.shards)][1:], "shard int, largest double"
        )
        bound = norm * functions.col("largest")
        visits = (
            asked.join(kth, "query_id")
            .crossJoin(functions.broadcast(rest))
            .where(
                (functions.col("count") < k)
                | (bound + functions.abs(bound) * ROUNDING >= functions.col("least"))
            )
            .select("query_id", "vector", "shard")
            .repartition(tasks, "shard", "query_id")
            .sortWithinPartitions("shard")
        )
        first = first.unionByName(visits.mapInArrow(_searching(found, k), schema))
    return _merged(first, k)


def _merged(found: DataFrame, k: int) -> DataFrame:
    """The k best of each query, ranked: score descending, then id ascending."""
    from pyspark.sql import Window, functions

    order = Window.partitionBy("query_id").orderBy(functions.desc("score"), functions.asc("item_id"))
    ranked = found.withColumn("rank", functions.row_number().over(order))
    return ranked.where(functions.col("rank") <= k)


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


def _searching(shards: Shards, k: int) -> Any:
    """Search the shards that rows name, in blocks of queries of one shard."""

    def answer(found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for frame in frames(found):
            for (place,), rows in frame.group_by("shard", maintain_order=True):
                for start in range(0, len(rows), BLOCK):
                    yield from _answers(shards, int(str(place)), rows[start : start + BLOCK], k)

    return answer


def _answers(shards: Shards, place: int, rows: pl.DataFrame, k: int) -> Iterator[pa.RecordBatch]:
    shard = shards.shards[place]
    if rows["query_id"].null_count():
        raise DataError(f"{rows['query_id'].null_count():,} query ids are null; drop these rows")
    at = Place(os.path.join(shards.folder, shard.name), shard.version)  # noqa: PTH118
    index, ids = opened(at, _load_shard)
    found = index.search(_matrix(rows["vector"], shards.dim), k)
    query, column = np.nonzero(found.ids >= 0)
    made = pl.DataFrame(
        {
            "query_id": rows["query_id"].gather(query),
            "item_id": ids.gather(found.ids[query, column]),
            "score": found.scores[query, column],
        }
    )
    yield from batches(made, made.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


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
