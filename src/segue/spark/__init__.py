"""Recommend, search and train on a Spark cluster, with the same model folders and the same results."""

from segue.spark.session import check_spark, session

check_spark()  # raises with install instructions before modules that need pyspark are imported

from segue.spark.recommend import recommend, similar  # noqa: E402
from segue.spark.shards import build_shards, open_shards, search_shards  # noqa: E402
from segue.spark.train import fit  # noqa: E402
from segue.spark.write import write  # noqa: E402

__all__ = ["build_shards", "fit", "open_shards", "recommend", "search_shards", "session", "similar", "write"]
