"""What segue fit and segue batch do with --spark: the same on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segue.errors import SettingError
from segue.models import ALS
from segue.recommender.facade import TrainedRecommender

Spark = Annotated[
    str | None,
    typer.Option(metavar="MASTER", help="Work on Spark: local[*], spark://host:7077, yarn, …; needs Java."),
]
COLUMNS = {"user": ("user_id", "userId", "user"), "item": ("item_id", "itemId", "movieId", "item")}


def fit_on_spark(
    master: str, source: str, folder: Path, settings: Any, index: str, names: dict[str, str | None]
) -> TrainedRecommender:
    """Train MLlib's ALS on a Parquet or CSV source that the cluster reads."""
    if not isinstance(settings, ALS):
        raise SettingError("--spark trains Spark's own ALS: name it with --model als")
    from segue.spark import fit, session

    frame = read(session(master), source)
    columns = {side: names.get(side) or _named(frame, side) for side in ("user", "item")}
    return fit(frame, folder, settings, **columns, weight=names.get("weight"), index=index)


def batch_on_spark(
    master: str, model: Path, file: Path, users: str | None, k: int, rules: dict[str, Any]
) -> tuple[int, str | None]:
    """Recommend on the cluster into a folder of Parquet files; return the number of rows and the version."""
    from segue.recommender.fitting import load
    from segue.spark import recommend, session, write

    if file.exists():
        raise SettingError(f"{file} is there already; name a new folder for Spark's Parquet files")
    spark = session(master)
    trained = load(model)
    if users is None:
        asked = spark.createDataFrame(trained.users.series.alias("user_id").to_frame().to_arrow())
    else:
        asked = read(spark, users)
        asked = asked.withColumnRenamed(asked.columns[0], "user_id")
    return write(recommend(asked, model, k, **rules), str(file)), trained.version


def read(spark: Any, source: str) -> Any:
    """A frame of a Parquet file or folder, or of CSV with a header."""
    kind = Path(source).suffix.lower()
    if kind in (".csv", ".tsv", ".gz"):
        separator = "\t" if ".tsv" in source else ","
        return spark.read.csv(source, header=True, inferSchema=True, sep=separator)
    return spark.read.parquet(source)


def _named(frame: Any, side: str) -> str:
    known: list[str] = [name for name in frame.columns if name in COLUMNS[side]]
    found = next(iter(known), None)
    if found is None:
        there = ", ".join(frame.columns)
        raise SettingError(f"no column of {side}s was found; name it with --{side} (there are {there})")
    return found
