"""Recommendations for a frame of users, and similar items for the whole catalogue, on all hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

from segue.data.ids import Id
from segue.errors import DataError
from segue.index.base import check_k
from segue.recommender import fitting
from segue.recommender.facade import BATCH, TrainedRecommender
from segue.recommender.options import ListOptions, check_on_unknown
from segue.spark.host import Place, batches, frames, load, opened
from segue.spark.place import placed
from segue.spark.session import check_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SEEN = "segue_seen"  # the column of what a joined frame says was seen
TASKS = 4  # for each core, so that none waits long for the last
KINDS = ("string", "byte", "short", "integer", "long")


def recommend(
    users: DataFrame,
    model: str | Path,
    k: int = 10,
    *,
    user: str = "user_id",
    exclude_seen: bool = True,
    seen: DataFrame | None = None,
    exclude: Iterable[Id] = (),
    allow: Iterable[Id] | None = None,
    on_unknown: str = "raise",
    explore: Any = None,
    diversify: Any = None,
    seed: int = 0,
    ship: bool = False,
) -> DataFrame:
    """Recommend k items to each user: a lazy frame of user_id, item_id, score, rank (from 1).

    The rows are those of `TrainedRecommender.recommend`. Each host opens the model folder memory-mapped and
    checks its bytes once; users flow through Arrow batches; nothing is collected.

    Args:
        users: a frame with a column of ids; each is answered once, however often it is there.
        model: a model folder that all hosts see under this path; its version is fixed now.
        k: items for each user.
        user: the name of the column of ids.
        exclude_seen: leave out what the user had in the training data.
        seen: user_id and item_id of more that users have seen since; joined, not collected.
        exclude, allow, on_unknown, explore, diversify, seed: as for `TrainedRecommender.recommend`. With the
            number of the week as seed, everybody gets another mix each week, the same however often it is
            made; with `explore` there is a column `propensity`.
        ship: send the model folder to the hosts, where they share no storage with this one.

    Raises `SettingError` and `DataError` for what can be seen without running; the job itself fails for null
    ids, unknown users, and a model that a host cannot see or that has been changed.
    """
    check_spark()
    check_k(k)
    check_on_unknown(on_unknown)
    ListOptions(k, explore=explore, diversify=diversify, seed=seed)
    asked = _asked(users, user)
    spark = users.sparkSession
    place = placed(spark, model, ship=ship)
    known = fitting.load(model, place.version)
    schema = _schema({"user_id": known.users.series, "item_id": known.items.series})
    if seen is not None:
        asked = _joined(asked, seen)
    rules = {
        "exclude_seen": exclude_seen,
        "exclude": list(exclude),
        "allow": None if allow is None else list(allow),
        "on_unknown": on_unknown,
        "explore": explore,
        "diversify": diversify,
        "seed": seed,
    }
    if explore is not None:
        schema = schema.append(pa.field("propensity", pa.float32()))
    return asked.mapInArrow(_answering(place, k, rules, schema), _spark_schema(schema))


def similar(
    spark: Any, model: str | Path, k: int = 10, *, allow: Iterable[Id] | None = None, ship: bool = False
) -> DataFrame:
    """Find the k nearest items of every item: a lazy frame of item_id, neighbor_id, score (cosine), rank.

    The rows are those of `TrainedRecommender.similar`. Arguments as for `recommend`.
    """
    check_spark()
    check_k(k)
    place = placed(spark, model, ship=ship)
    known = fitting.load(model, place.version)
    schema = _schema({"item_id": known.items.series, "neighbor_id": known.items.series})
    only = None if allow is None else list(allow)

    def answer(found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for frame in frames(found):
            trained = opened(place, load)
            items = trained.items.series.gather(frame["id"].to_numpy())
            yield from batches(trained.similar(items, k, allow=only), schema)

    parts = max(spark.sparkContext.defaultParallelism, -(-len(known.items) // BATCH))
    rows: DataFrame = spark.range(0, len(known.items), 1, parts)
    return rows.mapInArrow(answer, _spark_schema(schema))


def _asked(users: DataFrame, user: str) -> DataFrame:
    """The distinct ids, spread over as many tasks as there are cores, whatever came in."""
    if user not in users.columns:
        raise DataError(f"the frame has no column {user!r} of users; it has {', '.join(users.columns)}")
    kind = dict(users.dtypes)[user]
    named = users.schema[user].dataType.typeName()
    if named not in KINDS:
        raise DataError(f"the column {user!r} must hold strings or integers, not {kind}; cast it first")
    ids = users.select(users[user].alias("user_id"))
    parts = TASKS * users.sparkSession.sparkContext.defaultParallelism
    spread: DataFrame = ids.repartition(parts, "user_id").dropDuplicates(["user_id"])
    return spread


def _joined(asked: DataFrame, seen: DataFrame) -> DataFrame:
    """Each user with an array of what a frame says was seen."""
    from pyspark.sql import functions

    for name in ("user_id", "item_id"):
        if name not in seen.columns:
            raise DataError(
                f"the frame of seen items has no column {name!r}; it has {', '.join(seen.columns)}"
            )
    lists = seen.groupBy("user_id").agg(functions.collect_set("item_id").alias(SEEN))
    return asked.join(lists, "user_id", "left")


def _answering(place: Place, k: int, rules: dict[str, Any], schema: pa.Schema) -> Callable[..., Any]:
    """What a task does with its batches of users; everything that it holds is small."""

    def answer(found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for frame in frames(found):
            trained = opened(place, load)
            users = frame["user_id"]
            if users.null_count():
                raise DataError(f"{users.null_count():,} user ids are null; drop these rows or fill them in")
            more = _also_seen(frame[SEEN], trained) if SEEN in frame.columns else None
            yield from batches(trained.recommend(users, k, exclude_pairs=more, **rules), schema)

    return answer


def _also_seen(lists: pl.Series, trained: TrainedRecommender) -> Any:
    """A CSR, users × items, of lists of item ids; those that the model does not know are no matter."""
    lengths = lists.list.len().fill_null(0).to_numpy()
    columns = trained.items.rows(lists.drop_nulls().explode().drop_nulls())
    rows = np.repeat(np.arange(len(lists)), lengths)
    known = columns >= 0
    ones = np.ones(int(known.sum()), np.float32)
    return sp.csr_matrix((ones, (rows[known], columns[known])), (len(lists), len(trained.items)))


def _schema(ids: dict[str, pl.Series]) -> pa.Schema:
    """Columns of ids in the kinds that the model has, and the score and the rank."""
    kinds = {name: pa.int64() if series.dtype.is_integer() else pa.string() for name, series in ids.items()}
    return pa.schema({**kinds, "score": pa.float32(), "rank": pa.int32()})


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)
