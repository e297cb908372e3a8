"""Training on a cluster: MLlib's ALS on a frame of pairs, and its factors in a model folder."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue import store
from segue.data.ids import IdMap
from segue.errors import DataError
from segue.models.als import ALS
from segue.models.embeddings import Embeddings
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender
from segue.spark.session import check_spark
from segue.spark.write import stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double")
log = logging.getLogger("segue")


def fit(
    pairs: DataFrame,
    folder: str | Path,
    model: ALS | None = None,
    *,
    user: str = "user_id",
    item: str = "item_id",
    weight: str | None = None,
    index: Any = "auto",
    staging: str | Path | None = None,
) -> TrainedRecommender:
    """Train MLlib's ALS on pairs of users and items, and write a model folder that serves as any other.

    Ids are numbered in Spark, in their order; factors and histories go to files by way of the hosts, never
    through the heap of Spark's driver. Pairs that are there more than once are added up.

    Args:
        pairs: a frame of users, items, and weights where there are any.
        folder: the model folder to write.
        model: the settings; None for their defaults.
        user, item, weight: the names of the columns; without a weight each pair counts 1.
        index: as of `Recommender`.
        staging: a folder that the hosts write to and this process reads, removed in the end; None makes one
            in the temporary folder, which does where all hosts are this one.

    Raises `DataError` for columns that are missing or of the wrong kind, null ids, and no pairs.
    """
    check_spark()
    settings = Recommender(ALS() if model is None else model, index)
    store.check_target(folder)
    rows = _pairs(pairs, user, item, weight)
    draft = Path(tempfile.mkdtemp(prefix="segue-", dir=None if staging is None else str(staging)))
    try:
        with stage("ids numbered"):
            users, items = _numbered(rows, "user", draft), _numbered(rows, "item", draft)
        with stage("pairs numbered"):
            numbered = rows.join(users, "user").join(items, "item").select("user_row", "item_row", "weight")
            numbered.write.parquet(str(draft / "pairs"))
            numbered = pairs.sparkSession.read.parquet(str(draft / "pairs"))
        with stage(f"{settings.model.iterations} passes of MLlib trained, factors written"):
            _train(numbered, settings.model, draft)
        with stage("factors read and indexed"):
            trained = _assembled(settings, draft)
        with stage("model saved"):
            saved = trained.save(folder)
        log.info("%r learned from %s pairs", saved, f"{saved.interactions.nnz:,}")
        return saved
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _pairs(pairs: DataFrame, user: str, item: str, weight: str | None) -> DataFrame:
    """Columns user, item and weight, each pair once."""
    from pyspark.sql import functions

    kinds = dict(pairs.dtypes)
    for name in (user, item, *([] if weight is None else [weight])):
        if name not in kinds:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(pairs.columns)}")
    if weight is not None and kinds[weight] not in NUMBERS:
        raise DataError(f"the column {weight!r} must hold numbers, not {kinds[weight]}; cast it first")
    given = functions.lit(1.0) if weight is None else pairs[weight].cast("double")
    rows = pairs.select(pairs[user].alias("user"), pairs[item].alias("item"), given.alias("weight"))
    told = rows.agg(*(functions.count(name).alias(name) for name in ("user", "item", "weight")),
                    functions.count(functions.lit(1)).alias("rows")).collect()[0]  # fmt: skip
    if not told.rows:
        raise DataError("there are no pairs to learn from")
    for name, column in (("user", user), ("item", item), ("weight", weight)):
        if told[name] < told.rows:
            raise DataError(f"{told.rows - told[name]:,} values of {column!r} are null; drop these rows")
    return rows.groupBy("user", "item").agg(functions.sum("weight").alias("weight"))


def _numbered(rows: DataFrame, side: str, draft: Path) -> DataFrame:
    """The ids of a side with their rows, in the order of the ids; kept in files so that all jobs agree."""
    from pyspark.sql import functions

    ids = rows.select(side).distinct().orderBy(side)
    path = str(draft / f"{side}_ids")
    ids.write.parquet(path)
    spark = rows.sparkSession
    known = spark.read.parquet(path).orderBy(side)
    numbered = known.rdd.zipWithIndex().map(lambda pair: (pair[0][0], pair[1]))
    from pyspark.sql.types import IntegerType, StructField, StructType

    made = spark.createDataFrame(
        numbered, StructType([known.schema[side], StructField(f"{side}_row", IntegerType())])
    )
    made.write.parquet(str(draft / f"{side}s"))
    return spark.read.parquet(str(draft / f"{side}s")).select(side, functions.col(f"{side}_row"))


def _train(numbered: DataFrame, settings: ALS, draft: Path) -> None:
    """Run MLlib, and have the hosts write the factors."""
    from pyspark.ml import recommendation

    trainer = recommendation.ALS(
        rank=settings.dim, maxIter=settings.iterations, regParam=settings.reg, alpha=settings.alpha,
        implicitPrefs=settings.implicit, seed=settings.seed, userCol="user_row", itemCol="item_row",
        ratingCol="weight",
    )  # fmt: skip
    made = trainer.fit(numbered)
    made.userFactors.write.parquet(str(draft / "user_factors"))
    made.itemFactors.write.parquet(str(draft / "item_factors"))


def _assembled(settings: Recommender, draft: Path) -> TrainedRecommender:
    """Read what the hosts wrote, a file at a time."""
    users, items = (_ids(draft, side) for side in ("user", "item"))
    embeddings = Embeddings(
        _factors(draft, "user", len(users), settings.model.dim),
        _factors(draft, "item", len(items), settings.model.dim),
    )
    interactions = _seen(draft, len(users), len(items))
    return TrainedRecommender(
        settings=settings,
        users=users,
        items=items,
        embeddings=embeddings,
        index=settings.index.build(embeddings.items, queries=embeddings.users),
        interactions=interactions,
    )


def _parts(draft: Path, name: str) -> Iterator[pl.DataFrame]:
    for file in sorted((draft / name).glob("*.parquet")):
        yield pl.read_parquet(file)


def _ids(draft: Path, side: str) -> IdMap:
    table = pl.concat(list(_parts(draft, f"{side}s"))).sort(f"{side}_row")
    return IdMap(table[side], noun=side)


def _factors(draft: Path, side: str, count: int, dim: int) -> np.ndarray:
    """The factors of a side in row order; those that MLlib left out are zeros."""
    made = np.zeros((count, dim), np.float32)
    for part in _parts(draft, f"{side}_factors"):
        if len(part):
            made[part["id"].to_numpy()] = part["features"].explode().to_numpy().reshape(-1, dim)
    return made


def _seen(draft: Path, users: int, items: int) -> Any:
    parts = [part for part in _parts(draft, "pairs") if len(part)]
    rows = np.concatenate([part["user_row"].to_numpy() for part in parts])
    columns = np.concatenate([part["item_row"].to_numpy() for part in parts])
    weights = np.concatenate([part["weight"].to_numpy() for part in parts]).astype(np.float32)
    made = sp.csr_matrix((weights, (rows, columns)), (users, items))
    made.sort_indices()
    return made
