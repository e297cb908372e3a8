"""The --spark option of segue fit and segue batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.errors import SettingError
from segue.models.als import ALS
from segue.recommender.options import ListArguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from segue.recommender.facade import TrainedRecommender

Spark = Annotated[
    str | None,
    typer.Option(
        metavar="MASTER", help="Run on this Spark master: local[*], spark://host:7077, yarn, …; needs Java."
    ),
]
COLUMNS = {"user": ("user_id", "userId", "user"), "item": ("item_id", "itemId", "movieId", "item")}


def fit_on_spark(
    master: str, source: str, folder: Path, settings: Any, index: str, names: dict[str, str | None]
) -> TrainedRecommender:
    """Train the ALS of MLlib on a Parquet or CSV source that the cluster reads."""
    if not isinstance(settings, ALS):
        raise SettingError("--spark trains the ALS of Spark: choose it with --model als")
    from segue.spark import fit, session

    frame = read(session(master), source)
    columns = {side: names.get(side) or _find_column(frame, side) for side in ("user", "item")}
    return fit(frame, folder, settings, **columns, weight=names.get("weight"), index=index)


def batch_on_spark(
    master: str,
    model: Path,
    file: Path,
    users: str | None,
    k: int,
    on_unknown: str,
    arguments: ListArguments,
) -> tuple[int, str | None]:
    """Write recommendations into a folder of Parquet files; return the number of rows and the version."""
    from segue.recommender.fitting import load
    from segue.spark import recommend, session, write

    if file.exists():
        raise SettingError(f"{file} exists already; name a new folder for the Parquet files of Spark")
    spark = session(master)
    trained = load(model)
    if users is None:
        requested = spark.createDataFrame(trained.users.series.alias("user_id").to_frame().to_arrow())
    else:
        requested = read(spark, users)
        requested = requested.withColumnRenamed(requested.columns[0], "user_id")
    lists = recommend(requested, model, k, on_unknown=on_unknown, **arguments)
    return write(lists, str(file)), trained.version


def read(spark: SparkSession, source: str) -> DataFrame:
    """Return a Parquet file or folder, or a CSV file with a header, as a frame."""
    if Path(source).suffix.lower() in (".csv", ".tsv", ".gz"):
        separator = "\t" if ".tsv" in source else ","
        return spark.read.csv(source, header=True, inferSchema=True, sep=separator)
    return spark.read.parquet(source)


def _find_column(frame: DataFrame, side: str) -> str:
    column = next((name for name in frame.columns if name in COLUMNS[side]), None)
    if column is None:
        raise SettingError(
            f"no column of {side} ids was found; name it with --{side} (the columns are "
            f"{', '.join(frame.columns)})"
        )
    return column
