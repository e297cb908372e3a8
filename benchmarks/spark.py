"""Recommendations for all users on Spark: segue against MLlib's recommendForAllUsers, with the same factors.

    python benchmarks/spark.py [--data amazon-book gowalla] [--copies 1 10] [--repeats 3] [--shards 8]

`local[2]`, a warm session, rank 64, k = 10, Parquet written. MLlib trains once; its factors are the model of
both. Copies repeat the users under new ids. Also: the search of the library alone, which tells what Spark
costs on top; `nearestByJoin`, timed for some users and reckoned up; shards against no shards; and whether
the rows are those of the library.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from rich.console import Console
from rich.table import Table

import segue
from data import load_split
from segue.data.ids import IdMap
from segue.models import ALS
from segue.models.embeddings import Embeddings
from segue.spark import build_shards, recommend, search_shards, session

K = 10
log = logging.getLogger("benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["amazon-book", "gowalla"])
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--joined", type=int, default=300, help="users for whom nearestByJoin is timed")
    parser.add_argument("--ours", action="store_true", help="leave out MLlib's lists and nearestByJoin")
    parser.add_argument("--mllib", type=int, default=0, help="turns of MLlib after a warm-up; 0: one, cold")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    os.environ["SEGUE_THREADS"] = "2"
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--driver-memory 8g pyspark-shell")  # MLlib's blocks need it
    spark = session("local[2]")
    spark.sparkContext.setLogLevel("OFF")
    rows = []
    for name in given.data:
        with tempfile.TemporaryDirectory() as folder:
            rows += compared(spark, name, Path(folder), given)
    made = Table(*rows[0], title="all users, k = 10, seconds (medians)")
    for row in rows:
        made.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=200).print(made)
    print(json.dumps({"spark": rows}))


def compared(spark: Any, name: str, folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one data set: a number of copies of its users each."""
    from pyspark.ml.recommendation import ALSModel

    trained, theirs = factors(spark, name, folder)
    made: list[dict[str, Any]] = []
    for copies in given.copies:
        ours = copied(trained, copies, folder / f"model-{copies}")
        rows = ours.embeddings.users
        frame = spark.createDataFrame(pa.table({"id": np.arange(len(rows)), "features": list(rows)}))
        path = str(folder / f"users-{copies}")
        frame.write.parquet(path)
        users = spark.read.parquet(path).selectExpr("cast(id as int) id", "features")
        asked = users.selectExpr("cast(id as long) user_id")
        made_anew = spark._jvm.org.apache.spark.ml.recommendation.ALSModel(
            "als", theirs.rank, users._jdf, theirs.itemFactors._jdf
        )
        rival = ALSModel(made_anew.setUserCol("user").setItemCol("item"))
        out = str(folder / "out")

        def mllib(rival: Any = rival, out: str = out) -> None:
            rival.recommendForAllUsers(K).write.mode("overwrite").parquet(out)

        def here(asked: Any = asked, place: Path = folder / f"model-{copies}", out: str = out) -> None:
            recommend(asked, place, K, exclude_seen=False).write.mode("overwrite").parquet(out)

        def library(ours: Any = ours) -> None:
            ours.index.search(ours.embeddings.users, K)

        seconds = timed({"segue": here, "library": library}, given.repeats)
        right = same(ours, out)
        shards, shards_right = sharded(spark, ours, users, folder, given) if copies == 1 else (None, None)
        theirs_s = None if given.ours else timed({"mllib": mllib}, given.mllib)["mllib"]
        joined_s = None if given.ours or copies > 1 else nearest(spark, ours, users, given, out)
        row = {
            "data": name, "users": len(rows), "segue_s": seconds["segue"], "mllib_s": theirs_s,
            "times": theirs_s and theirs_s / seconds["segue"], "same_rows": right,
            "search_alone_s": seconds["library"],
            "nearest_by_join_s": joined_s, "shards_s": shards, "shards_same": shards_right,
        }  # fmt: skip
        made.append(row)
        log.info("%s", row)
    return made


def nearest(spark: Any, ours: Any, users: Any, given: argparse.Namespace, out: str) -> float:
    """Seconds that `nearestByJoin` takes for all users, reckoned from those of some."""
    from pyspark.sql import functions

    items = ours.embeddings.items
    frame = spark.createDataFrame(pa.table({"item": np.arange(len(items)), "vector": list(items)}))
    some = users.where(functions.col("id") < given.joined).localCheckpoint()
    score = functions.vector_inner_product(some.features, frame.vector)

    def join() -> None:
        found = some.nearestByJoin(frame, score, K, "exact", "similarity").select("id", "item")
        found.write.mode("overwrite").parquet(out)

    took = timed({"join": join}, 0)["join"]
    return float(took * len(ours.users) / given.joined)


def factors(spark: Any, name: str, folder: Path) -> tuple[Any, Any]:
    """MLlib's factors as a model of ours, and as its own."""
    from pyspark.ml import recommendation

    train = load_split(name)[0]
    pairs = train.matrix.tocoo()
    table = pa.table({"user": pairs.row.astype(np.int32), "item": pairs.col.astype(np.int32)})
    frame = spark.createDataFrame(table).selectExpr("user", "item", "1.0 as rating")
    trainer = recommendation.ALS(rank=64, maxIter=2, implicitPrefs=True, seed=0)
    theirs = trainer.fit(frame)
    users, items = (
        matrix(side.toArrow(), count)
        for side, count in zip((theirs.userFactors, theirs.itemFactors), train.matrix.shape, strict=True)
    )
    embeddings = Embeddings(users, items)
    settings = segue.Recommender(ALS(dim=64), "exact")
    trained = segue.TrainedRecommender(
        settings,
        train.users,
        train.items,
        embeddings,
        settings.index.build(items, queries=users),
        train.matrix,
    )
    return trained, theirs


def matrix(table: Any, count: int) -> np.ndarray:
    """Factors in row order."""
    frame = pl.DataFrame(table)
    made = np.zeros((count, 64), np.float32)
    made[frame["id"].to_numpy()] = frame["features"].explode().to_numpy().reshape(-1, 64)
    return made


def copied(trained: Any, copies: int, folder: Path) -> Any:
    """The users that many times over, under integer ids, saved."""
    import scipy.sparse as sp

    users = np.tile(trained.embeddings.users, (copies, 1))
    made = replace(
        trained,
        users=IdMap(np.arange(len(users)), noun="user"),
        items=IdMap(np.arange(len(trained.items)), noun="item"),
        embeddings=Embeddings(users, trained.embeddings.items),
        interactions=sp.vstack([trained.interactions] * copies, "csr"),
        item_metadata=None,
    )
    return made.save(folder)


def timed(works: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Medians of turns, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn or not repeats:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def same(ours: Any, out: str) -> bool:
    """Whether the Parquet has the library's rows: ids equal, scores to 1e-6."""
    found = pl.read_parquet(f"{out}/*.parquet").sort("user_id", "rank")
    wanted = ours.index.search(ours.embeddings.users, K)
    ids = found["item_id"].to_numpy().reshape(-1, K)
    scores = found["score"].to_numpy().reshape(-1, K)
    return bool((ids == wanted.ids).all() and np.abs(scores - wanted.scores).max() < 1e-6)


def sharded(spark: Any, ours: Any, users: Any, folder: Path, given: argparse.Namespace) -> tuple[float, bool]:
    """Seconds with shards, and whether the rows are the same."""
    items = ours.embeddings.items
    frame = spark.createDataFrame(pa.table({"item_id": np.arange(len(items)), "vector": list(items)}))
    build_shards(frame, folder / "shards", given.shards)
    out = str(folder / "shards-out")

    def search() -> None:
        found = search_shards(users, folder / "shards", K, query="id", vector="features")
        found.write.mode("overwrite").parquet(out)

    took = timed({"shards": search}, given.repeats)["shards"]
    found = pl.read_parquet(f"{out}/*.parquet").sort("query_id", "rank")
    wanted = ours.index.search(ours.embeddings.users, K)
    right = bool((found["item_id"].to_numpy().reshape(-1, K) == wanted.ids).all())
    shutil.rmtree(out)
    return took, right


if __name__ == "__main__":
    main()
