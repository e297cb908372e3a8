"""Train MLlib's ALS on a cluster and write its factors into a model folder."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue import store
from segue.data.ids import IdMap
from segue.errors import DataError
from segue.index.base import IndexSettings
from segue.models.als import ALS
from segue.models.embeddings import Embeddings
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import Recommender
from segue.spark.session import check_spark
from segue.spark.write import stage
from segue.types import CSR

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NUMERIC_TYPES = ("tinyint", "smallint", "int", "bigint", "float", "double")
log = logging.getLogger("segue")


def fit(
    pairs: DataFrame,
    folder: str | Path,
    model: ALS | None = None,
    *,
    user: str = "user_id",
    item: str = "item_id",
    weight: str | None = None,
    index: IndexSettings | str = "auto",
    staging: str | Path | None = None,
) -> TrainedRecommender:
    """Train MLlib's ALS on pairs of users and items, and write a model folder.

    Spark assigns row numbers to the ids in ascending order. The hosts write factors and interactions to
    files; they do not pass through the heap of Spark's driver. The weights of repeated pairs are summed.

    Args:
        pairs: a frame with columns of users, items and, optionally, weights.
        folder: the model folder to write.
        model: the settings of the model; None for the defaults.
        user, item, weight: the names of the columns; without a weight column each pair has weight 1.
        index: the settings of an index or its name, as for `Recommender`.
        staging: a folder that the hosts write and this process reads; removed at the end. None for a
            temporary folder, which suffices if all hosts are this machine.

    Raises `DataError` for missing columns, columns of the wrong type, null values, and an empty frame.
    """
    check_spark()
    settings = Recommender(ALS() if model is None else model, index)
    store.check_target(folder)
    rows = _pairs(pairs, user, item, weight)
    draft = Path(tempfile.mkdtemp(prefix="segue-", dir=None if staging is None else str(staging)))
    try:
        with stage("ids assigned to rows"):
            users, items = _assign_rows(rows, "user", draft), _assign_rows(rows, "item", draft)
        with stage("pairs joined with rows"):
            numbered = rows.join(users, "user").join(items, "item").select("user_row", "item_row", "weight")
            numbered.write.parquet(str(draft / "pairs"))
            numbered = pairs.sparkSession.read.parquet(str(draft / "pairs"))
        with stage(f"{settings.model.iterations} iterations of MLlib trained, factors written"):
            _train(numbered, settings.model, draft)
        with stage("factors read and indexed"):
            trained = _assemble(settings, draft)
        with stage("model saved"):
            saved = trained.save(folder)
        log.info("%r trained on %s pairs", saved, f"{saved.interactions.nnz:,}")
        return saved
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _pairs(pairs: DataFrame, user: str, item: str, weight: str | None) -> DataFrame:
    """Return the columns user, item and weight, with one row for each pair."""
    from pyspark.sql import functions

    types = dict(pairs.dtypes)
    for name in (user, item, *([] if weight is None else [weight])):
        if name not in types:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(pairs.columns)}")
    if weight is not None and types[weight] not in NUMERIC_TYPES:
        raise DataError(f"the column {weight!r} must hold numbers, not {types[weight]}; cast it first")
    weights = functions.lit(1.0) if weight is None else pairs[weight].cast("double")
    rows = pairs.select(pairs[user].alias("user"), pairs[item].alias("item"), weights.alias("weight"))
    counts = rows.agg(*(functions.count(name).alias(name) for name in ("user", "item", "weight")),
                      functions.count(functions.lit(1)).alias("rows")).collect()[0]  # fmt: skip
    if not counts.rows:
        raise DataError("the frame of pairs has no rows; training needs at least one pair")
    for name, column in (("user", user), ("item", item), ("weight", weight)):
        if counts[name] < counts.rows:
            raise DataError(f"{counts.rows - counts[name]:,} values of {column!r} are null; drop these rows")
    return rows.groupBy("user", "item").agg(functions.sum("weight").alias("weight"))


def _assign_rows(rows: DataFrame, side: str, draft: Path) -> DataFrame:
    """Return ids with row numbers, ascending by id; files make all jobs use the same numbers."""
    from pyspark.sql import functions

    ids = rows.select(side).distinct().orderBy(side)
    path = str(draft / f"{side}_ids")
    ids.write.parquet(path)
    spark = rows.sparkSession
    sorted_ids = spark.read.parquet(path).orderBy(side)
    pairs = sorted_ids.rdd.zipWithIndex().map(lambda pair: (pair[0][0], pair[1]))
    from pyspark.sql.types import IntegerType, StructField, StructType

    numbered = spark.createDataFrame(
        pairs, StructType([sorted_ids.schema[side], StructField(f"{side}_row", IntegerType())])
    )
    numbered.write.parquet(str(draft / f"{side}s"))
    return spark.read.parquet(str(draft / f"{side}s")).select(side, functions.col(f"{side}_row"))


def _train(numbered: DataFrame, settings: ALS, draft: Path) -> None:
    """Train with MLlib; the hosts write the factors."""
    from pyspark.ml import recommendation

    trainer = recommendation.ALS(
        rank=settings.dim, maxIter=settings.iterations, regParam=settings.reg, alpha=settings.alpha,
        implicitPrefs=settings.implicit, seed=settings.seed, userCol="user_row", itemCol="item_row",
        ratingCol="weight",
    )  # fmt: skip
    fitted = trainer.fit(numbered)
    fitted.userFactors.write.parquet(str(draft / "user_factors"))
    fitted.itemFactors.write.parquet(str(draft / "item_factors"))


def _assemble(settings: Recommender, draft: Path) -> TrainedRecommender:
    """Return the recommender of the files that the hosts wrote; read one file at a time."""
    users, items = (_ids(draft, side) for side in ("user", "item"))
    embeddings = Embeddings(
        _factors(draft, "user", len(users), settings.model.dim),
        _factors(draft, "item", len(items), settings.model.dim),
    )
    interactions = _interactions(draft, len(users), len(items))
    return TrainedRecommender(
        settings=settings,
        users=users,
        items=items,
        embeddings=embeddings,
        index=settings.index.build(embeddings.items, queries=embeddings.users),
        interactions=interactions,
    )


def _parts(draft: Path, name: str) -> Iterator[pl.DataFrame]:
    """Yield the Parquet files of a folder of the draft."""
    for file in sorted((draft / name).glob("*.parquet")):
        yield pl.read_parquet(file)


def _ids(draft: Path, side: str) -> IdMap:
    """Return the ids of users or items in row order."""
    table = pl.concat(list(_parts(draft, f"{side}s"))).sort(f"{side}_row")
    return IdMap(table[side], noun=side)


def _factors(draft: Path, side: str, count: int, dim: int) -> np.ndarray:
    """Return factors (count, dim) float32 in row order; rows without a factor in MLlib are zeros."""
    factors = np.zeros((count, dim), np.float32)
    for part in _parts(draft, f"{side}_factors"):
        if len(part):
            factors[part["id"].to_numpy()] = part["features"].explode().to_numpy().reshape(-1, dim)
    return factors


def _interactions(draft: Path, users: int, items: int) -> CSR:
    """Return the weights of all pairs (users, items)."""
    parts = [part for part in _parts(draft, "pairs") if len(part)]
    rows = np.concatenate([part["user_row"].to_numpy() for part in parts])
    columns = np.concatenate([part["item_row"].to_numpy() for part in parts])
    weights = np.concatenate([part["weight"].to_numpy() for part in parts]).astype(np.float32)
    matrix = sp.csr_matrix((weights, (rows, columns)), (users, items))
    matrix.sort_indices()
    return matrix
