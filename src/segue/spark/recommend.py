"""Recommendations for a frame of users, and similar items for the whole catalogue, on all hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

from segue.data.ids import Id
from segue.errors import DataError
from segue.recommender import fitting
from segue.recommender.facade import BATCH, TrainedRecommender
from segue.recommender.options import ListArguments, ListOptions, check_on_unknown
from segue.spark.host import ModelLocation, batches, frames, load, open_once
from segue.spark.location import locate_model
from segue.spark.session import check_spark
from segue.types import CSR

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType
    from typing_extensions import Unpack

EXCLUDED = "segue_excluded"  # the column of joined item ids to exclude
TASKS_PER_CORE = 4  # so that no core waits long for the last task
ID_TYPES = ("string", "byte", "short", "integer", "long")
REASONS = pa.list_(
    pa.struct(
        {"reason": pa.string(), "value": pa.string(), "title": pa.string(), "share": pa.float64()}.items()
    )
)


def recommend(
    users: DataFrame,
    model: str | Path,
    k: int = 10,
    *,
    user: str = "user_id",
    on_unknown: str = "raise",
    exclude_pairs: DataFrame | None = None,
    ship: bool = False,
    **options: Unpack[ListArguments],
) -> DataFrame:
    """Recommend k items to each user: a lazy frame of user_id, item_id, score, rank.

    The rows are those of `TrainedRecommender.recommend`. Each host opens the model folder memory-mapped and
    checks its bytes once. Users go through Arrow batches; nothing is collected.

    Args:
        users: a frame with a column of user ids; duplicates count once.
        model: a model folder that all hosts see under this path; its version is fixed now.
        k: the number of items for each user.
        user: the name of the column of user ids.
        on_unknown: what unknown users get: "raise", "skip" or "popular".
        exclude_pairs: a frame of user_id and item_id, further pairs to exclude; joined, not collected.
        ship: send the model folder to the hosts, for hosts without shared storage.
        options: the fields of `ListOptions`: exclude, allow, where, exclude_seen, explore, diversify,
            explain, seed. With the number of the week as seed, all users get another list each week, and the
            same list if the job runs again.

    Returns:
        A frame of user_id, item_id, score, rank (from 1), propensity (with `explore`) and reasons (with
        `explain`).

    Raises `SettingError` and `DataError` for errors that need no run. The job itself fails for null ids,
    unknown users, and a model that a host cannot see or that has changed.
    """
    check_spark()
    check_on_unknown(on_unknown)
    arguments = _picklable(options)
    list_options = ListOptions(k, **arguments)
    requested = _distinct_ids(users, user)
    location = locate_model(users.sparkSession, model, ship=ship)
    trained = fitting.load(model, location.version)
    trained.filters.allowed(list_options)  # raises now for conditions that cannot hold
    schema = _schema({"user_id": trained.users.series, "item_id": trained.items.series})
    if list_options.explore is not None:
        schema = schema.append(pa.field("propensity", pa.float64()))
    if list_options.explain:
        schema = schema.append(pa.field("reasons", REASONS))
    if exclude_pairs is not None:
        requested = _join_pairs(requested, exclude_pairs)
    return requested.mapInArrow(_lists(location, k, on_unknown, arguments, schema), _spark_schema(schema))


def similar(
    spark: SparkSession,
    model: str | Path,
    k: int = 10,
    *,
    exclude: Iterable[Id] = (),
    allow: Iterable[Id] | None = None,
    where: Iterable[str] = (),
    ship: bool = False,
) -> DataFrame:
    """Find the k nearest items of every item: a lazy frame of item_id, neighbor_id, score (cosine), rank.

    The rows are those of `TrainedRecommender.similar`. Arguments as for `recommend`.
    """
    check_spark()
    arguments = _picklable({"exclude": exclude, "allow": allow, "where": where})
    location = locate_model(spark, model, ship=ship)
    trained = fitting.load(model, location.version)
    trained.filters.allowed(ListOptions(k, **arguments))  # raises now for conditions that cannot hold
    count = len(trained.items)
    schema = _schema({"item_id": trained.items.series, "neighbor_id": trained.items.series})

    def compare(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for frame in frames(incoming):
            trained_here = open_once(location, load)
            items = trained_here.items.series.gather(frame["id"].to_numpy())
            neighbors = trained_here.similar(
                items, k, exclude=arguments["exclude"], allow=arguments["allow"], where=arguments["where"]
            )
            yield from batches(neighbors, schema)

    parts = max(spark.sparkContext.defaultParallelism, -(-count // BATCH))
    return spark.range(0, count, 1, parts).mapInArrow(compare, _spark_schema(schema))


def _picklable(options: ListArguments) -> ListArguments:
    """The options with lists instead of iterators, which are sent to the hosts."""
    lists = options.copy()
    if "exclude" in options:
        lists["exclude"] = list(options["exclude"])
    if (allow := options.get("allow")) is not None:
        lists["allow"] = list(allow)
    if "where" in options:
        where = options["where"]
        lists["where"] = [where] if isinstance(where, str) else list(where)
    return lists


def _distinct_ids(users: DataFrame, user: str) -> DataFrame:
    """The distinct user ids, spread over a fixed number of tasks for each core."""
    if user not in users.columns:
        raise DataError(
            f"the frame has no column {user!r} of users; it has {', '.join(users.columns)}",
            arguments=("user",),
        )
    dtype = dict(users.dtypes)[user]
    if users.schema[user].dataType.typeName() not in ID_TYPES:
        raise DataError(f"the column {user!r} must hold strings or integers, not {dtype}; cast it first")
    ids = users.select(users[user].alias("user_id"))
    tasks = TASKS_PER_CORE * users.sparkSession.sparkContext.defaultParallelism
    return ids.repartition(tasks, "user_id").dropDuplicates(["user_id"])


def _join_pairs(requested: DataFrame, pairs: DataFrame) -> DataFrame:
    """Add to each user an array of the item ids in their pairs."""
    from pyspark.sql import functions

    for name in ("user_id", "item_id"):
        if name not in pairs.columns:
            raise DataError(
                f"the frame of excluded pairs has no column {name!r}; it has {', '.join(pairs.columns)}"
            )
    lists = pairs.groupBy("user_id").agg(functions.collect_set("item_id").alias(EXCLUDED))
    return requested.join(lists, "user_id", "left")


def _lists(
    location: ModelLocation, k: int, on_unknown: str, options: ListArguments, schema: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function that a task applies to its batches of users; its closure is small."""

    def recommend_batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for frame in frames(incoming):
            trained = open_once(location, load)
            users = frame["user_id"]
            if users.null_count():
                raise DataError(f"{users.null_count():,} user ids are null; drop these rows or fill them in")
            pairs = _pairs_matrix(frame[EXCLUDED], trained) if EXCLUDED in frame.columns else None
            lists = trained.recommend(users, k, on_unknown=on_unknown, exclude_pairs=pairs, **options)
            yield from batches(lists, schema)

    return recommend_batches


def _pairs_matrix(lists: pl.Series, trained: TrainedRecommender) -> CSR:
    """Return lists of item ids as a users × items CSR; unknown ids are ignored."""
    lengths = lists.list.len().fill_null(0).to_numpy()
    columns = trained.items.rows(lists.drop_nulls().explode().drop_nulls())
    rows = np.repeat(np.arange(len(lists)), lengths)
    known = columns >= 0
    ones = np.ones(int(known.sum()), np.float32)
    return sp.csr_matrix((ones, (rows[known], columns[known])), (len(lists), len(trained.items)))


def _schema(ids: dict[str, pl.Series]) -> pa.Schema:
    """Return columns of ids in the types of the model, then score and rank."""
    types = {name: pa.int64() if series.dtype.is_integer() else pa.string() for name, series in ids.items()}
    return pa.schema({**types, "score": pa.float32(), "rank": pa.int32()})


def _spark_schema(schema: pa.Schema) -> StructType:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)
