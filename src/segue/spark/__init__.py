"""Spark: the same model folder and the same answers on a cluster."""

from segue.spark.recommend import recommend, similar
from segue.spark.session import session
from segue.spark.shards import build_shards, open_shards, search_shards
from segue.spark.train import fit
from segue.spark.write import write

__all__ = ["build_shards", "fit", "open_shards", "recommend", "search_shards", "session", "similar", "write"]
