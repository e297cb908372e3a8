"""Exact search over more items than one machine holds: hosts build and search shards, divided by norm."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from segue import store
from segue.errors import CorruptModelError, DataError, NotAModelError, SettingError
from segue.index.base import Index
from segue.index.checks import check_k
from segue.index.exact import Exact
from segue.spark.host import ModelLocation, batches, frames, open_once
from segue.spark.session import check_spark
from segue.spark.write import stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MANIFEST = "shards.json"
FORMAT = 2
BLOCK = 65_536  # the largest number of queries that search the shards together
MAX_RESULTS = 8_000_000  # the largest number of results (queries × k) of a block
ROUNDING = 1e-5  # relative error of float32 products against the product of the norms
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        name: its folder, inside the folder of all shards.
        version: the version of that folder.
        items: the number of vectors.
        norm: the largest norm of the vectors.
    """

    name: str
    version: str
    items: int
    norm: float


@dataclass(frozen=True)
class Shards:
    """The shards of a folder.

    Attributes:
        folder: the path of the folder.
        dim: the dimensions of the vectors.
        id_type: the Spark type of the item ids, such as "bigint".
        shards: the shards, by descending norm.
    """

    folder: str
    dim: int
    id_type: str
    shards: tuple[Shard, ...]

    def __len__(self) -> int:
        return sum(shard.items for shard in self.shards)


def build_shards(
    items: DataFrame, folder: str | Path, shards: int, *, item: str = "item_id", vector: str = "vector"
) -> Shards:
    """Divide item vectors into shards by norm and build an exact index of each shard on the hosts.

    Each task writes one shard to the folder; the driver receives one row per shard.

    Args:
        items: a frame of item ids and vectors (arrays of floats).
        folder: a path on storage that all hosts see; new or empty.
        shards: the largest number of shards.
        item, vector: the names of the columns.

    Raises `SettingError` for a folder with files, `DataError` for missing columns, columns of the wrong type,
    null or repeated ids, and vectors of different lengths. The job fails for values that are not finite.
    """
    check_spark()
    check_k(shards, "shards")
    from pyspark.sql import functions

    folder = Path(folder).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise SettingError(
            f"{folder} is not empty; choose a new folder for the shards", arguments=("folder",)
        )
    id_type = _check_columns(items, item, vector)
    norm = functions.sqrt(functions.aggregate(
        functions.transform(items[vector], lambda value: value * value),
        functions.lit(0.0), lambda total, value: total + value,
    ))  # fmt: skip
    rows = items.select(items[item].alias("id"), items[vector].alias("vector"), norm.alias("norm"))
    with stage("ids checked"):
        _check_ids(rows)
    partitions = rows.repartitionByRange(shards, functions.desc("norm"))
    columns = "name string, version string, items long, norm double, dim int"
    with stage("shards built"):
        summaries = partitions.mapInArrow(lambda rows: _build_shard(rows, str(folder)), columns).collect()
    dims = {row.dim for row in summaries}
    if not summaries:
        raise DataError("the frame of items has no rows; shards need at least one vector")
    if len(dims) > 1:
        raise DataError(f"vectors of different shards have different lengths: {sorted(dims)}")
    by_norm = sorted(
        (Shard(row.name, row.version, row.items, row.norm) for row in summaries),
        key=lambda shard: -shard.norm,
    )
    manifest = Shards(str(folder), dims.pop(), id_type, tuple(by_norm))
    _write_manifest(manifest)
    log.info("%s vectors in %s shards in %s", f"{len(manifest):,}", len(by_norm), folder)
    return manifest


def open_shards(folder: str | Path) -> Shards:
    """Read the manifest of a folder of shards.

    Raises `NotAModelError` without a manifest, `CorruptModelError` if it is damaged or of another format.
    """
    path = Path(folder).absolute() / MANIFEST
    if not path.is_file():
        raise NotAModelError(f"{folder} has no {MANIFEST}; name the folder that build_shards wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}, expected {FORMAT}")
        shards = tuple(Shard(**shard) for shard in manifest["shards"])
        return Shards(str(path.parent), manifest["dim"], manifest["id_type"], shards)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptModelError(
            f"{path} is damaged or of another format ({error!r}); build the shards again"
        ) from error


def search_shards(
    queries: DataFrame, folder: str | Path, k: int = 10, *, query: str = "query_id", vector: str = "vector"
) -> DataFrame:
    """Return the k items with the largest inner product for each query.

    Each task searches the shards for a block of queries, by descending norm, and keeps the k best items of
    each query. By the Cauchy-Schwarz inequality, a query skips the shards with a largest norm too small to
    beat its k-th score. The results are those of `Exact` over all items in ascending order of ids.

    Args:
        queries: a frame of distinct query ids and vectors (arrays of floats).
        folder: the folder that `build_shards` wrote.
        k: the number of items for each query.
        query, vector: the names of the columns.

    Returns:
        A lazy frame of query_id, item_id, score, rank (from 1); equal scores are in ascending order of ids.

    Raises `NotAModelError` or `CorruptModelError` for the folder, `DataError` for missing columns and columns
    of the wrong type. The job fails for null ids and vectors of the wrong length.
    """
    check_spark()
    check_k(k)
    shards = open_shards(folder)
    id_type = _check_columns(queries, query, vector)
    vectors = queries.select(queries[query].alias("query_id"), queries[vector].alias("vector"))
    tasks = 4 * queries.sparkSession.sparkContext.defaultParallelism
    schema = f"query_id {id_type}, item_id {shards.id_type}, score float, rank int"
    return vectors.repartition(tasks, "query_id").mapInArrow(
        lambda rows: _search_blocks(rows, shards, k), schema
    )


def _check_columns(frame: DataFrame, ids: str, vector: str) -> str:
    """Return the Spark type of the ids; raise `DataError` for a missing column or a wrong type."""
    types = dict(frame.dtypes)
    for name in (ids, vector):
        if name not in types:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(frame.columns)}")
    if types[vector] not in ("array<float>", "array<double>"):
        raise DataError(f"the column {vector!r} must hold arrays of floats, not {types[vector]}")
    if types[ids] not in ("string", "bigint", "int", "smallint", "tinyint"):
        raise DataError(f"the column {ids!r} must hold strings or integers, not {types[ids]}; cast it first")
    return types[ids]


def _check_ids(rows: DataFrame) -> None:
    """Raise `DataError` for null and repeated ids."""
    from pyspark.sql import functions

    counts = rows.agg(
        functions.count(functions.lit(1)).alias("rows"), functions.count("id").alias("non_null"),
        functions.count_distinct("id").alias("distinct"),
    ).collect()[0]  # fmt: skip
    if counts.non_null < counts.rows:
        raise DataError(
            f"{counts.rows - counts.non_null:,} of {counts.rows:,} item ids are null; drop these rows"
        )
    if counts.distinct < counts.rows:
        raise DataError(
            f"{counts.rows - counts.distinct:,} of {counts.rows:,} item ids are repeated; "
            "keep one row of each"
        )


def _matrix(vectors: pl.Series, dim: int | None) -> np.ndarray:
    """Return a column of lists as vectors (n, dim) float32; with dim=None, the first length is the dim."""
    if vectors.null_count():
        raise DataError(f"{vectors.null_count():,} vectors are null")
    lengths = vectors.list.len().unique()
    expected = int(lengths[0]) if dim is None else dim
    if len(lengths) != 1 or int(lengths[0]) != expected:
        raise DataError(f"vectors have {sorted(lengths)} dimensions; all must have {expected}")
    return vectors.explode().to_numpy().astype(np.float32).reshape(-1, expected)


def _build_shard(batch_stream: Iterable[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """Write the shard of one partition; yield one row that describes it."""
    parts = list(frames(batch_stream))
    if not parts:
        return
    rows = pl.concat(parts).sort("id")  # equal scores are returned in ascending order of ids
    vectors = _matrix(rows["vector"], None)
    from pyspark import TaskContext

    context = TaskContext.get()
    name = f"shard-{0 if context is None else context.partitionId():05d}"
    index = Exact().build(vectors)
    arrays = {f"index.{key}": array for key, array in index.arrays().items()}
    path = Path(folder, name)
    version = store.write(path, arrays, {"items": rows.select("id")}, {"dim": vectors.shape[1]})
    columns = {
        "name": [name], "version": [version], "items": [len(rows)],
        "norm": [float(np.linalg.norm(vectors.astype(np.float64), axis=1).max())], "dim": [vectors.shape[1]],
    }  # fmt: skip
    summary = pl.DataFrame(columns).with_columns(pl.col("dim").cast(pl.Int32))
    yield from batches(summary, summary.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _search_blocks(
    batch_stream: Iterable[pa.RecordBatch], shards: Shards, k: int
) -> Iterator[pa.RecordBatch]:
    """Yield the results of the queries of one task."""
    for rows in _blocks(frames(batch_stream), max(1, min(BLOCK, MAX_RESULTS // k))):
        if rows["query_id"].null_count():
            raise DataError(f"{rows['query_id'].null_count():,} query ids are null; drop these rows")
        best = _search(_matrix(rows["vector"], shards.dim), shards, k)
        query, column = np.nonzero(np.isfinite(best.scores))
        results = pl.DataFrame(
            {
                "query_id": rows["query_id"].gather(query),
                "item_id": best.ids.gather(query * k + column),
                "score": best.scores[query, column],
                "rank": (column + 1).astype(np.int32),
            }
        )
        yield from batches(results, results.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def _blocks(parts: Iterable[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """Concatenate and slice frames into frames of `size` rows; the last may have fewer."""
    buffer: list[pl.DataFrame] = []
    for part in parts:
        buffer.append(part)
        while sum(map(len, buffer)) >= size:
            block = pl.concat(buffer)
            yield block[:size]
            buffer = [block[size:]]
    if sum(map(len, buffer)):
        yield pl.concat(buffer)


class TopItems(NamedTuple):
    """The best items found so far for q queries.

    Attributes:
        scores: (q, k) float32, descending; -inf for padding.
        ids: q × k item ids, row by row.
    """

    scores: np.ndarray
    ids: pl.Series


def _search(vectors: np.ndarray, shards: Shards, k: int) -> TopItems:
    """Search the shards by descending norm, each for the queries that it can still improve."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1) * (1 + ROUNDING)
    best = TopItems(np.full((len(vectors), k), -np.inf, np.float32), pl.Series([], dtype=pl.Null))
    for shard in shards.shards:
        active = np.flatnonzero(norms * shard.norm >= best.scores[:, -1])
        if not len(active):
            break  # the norms of later shards are no larger
        location = ModelLocation(os.path.join(shards.folder, shard.name), shard.version)  # noqa: PTH118
        index, ids = open_once(location, _load_shard)
        neighbors = index.search(vectors[active], k)
        item_ids = ids.gather(np.where(neighbors.ids < 0, 0, neighbors.ids).ravel())
        scores = np.where(neighbors.ids < 0, -np.inf, neighbors.scores).astype(np.float32)
        best = _merge(best, active, TopItems(scores, item_ids))
    return best


def _merge(best: TopItems, active: np.ndarray, candidates: TopItems) -> TopItems:
    """Merge candidates into the results of the active queries: score descending, then id ascending."""
    count, k = best.scores.shape
    if not len(best.ids):
        return candidates  # of the first shard, which all queries search
    positions = (active[:, None] * k + np.arange(k)).ravel()
    ids = pl.concat([best.ids.gather(positions), candidates.ids])
    ranks = ids.rank("dense").to_numpy().reshape(2, len(active), k)
    scores = np.concatenate([best.scores[active], candidates.scores], 1)
    order = np.lexsort((np.concatenate([*ranks], 1), -scores))[:, :k]
    best.scores[active] = np.take_along_axis(scores, order, 1)
    # Positions in best.ids followed by candidates.ids, both row by row.
    positions = np.arange(count * k).reshape(count, k)
    candidate_positions = len(best.ids) + np.arange(len(active) * k).reshape(-1, k)
    positions[active] = np.take_along_axis(
        np.concatenate([positions[active], candidate_positions], 1), order, 1
    )
    return TopItems(best.scores, pl.concat([best.ids, candidates.ids]).gather(positions.ravel()))


def _load_shard(path: Path, version: str) -> tuple[Index, pl.Series]:
    """Return the index of a shard and its item ids."""
    stored = store.open_model(path, version)
    try:
        arrays = {name.removeprefix("index."): array for name, array in stored.arrays.items()}
        return Exact().from_arrays(arrays), stored.tables["items"]["id"]
    except KeyError as error:
        raise CorruptModelError(f"{stored.path} is not a shard: it has no {error}") from error


def _write_manifest(shards: Shards) -> None:
    """Write the manifest atomically."""
    path = Path(shards.folder, MANIFEST)
    manifest = {"format": FORMAT, **asdict(shards)}
    del manifest["folder"]
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    draft.replace(path)
