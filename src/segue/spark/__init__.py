"""Spark: the same model folder and the same answers on a cluster."""

from segue.spark.session import check_spark, session

check_spark()  # says what to install, before the modules that need it are imported

from segue.spark.recommend import recommend, similar  # noqa: E402
from segue.spark.shards import build_shards, open_shards, search_shards  # noqa: E402
from segue.spark.train import fit  # noqa: E402
from segue.spark.write import write  # noqa: E402

__all__ = ["build_shards", "fit", "open_shards", "recommend", "search_shards", "session", "similar", "write"]
