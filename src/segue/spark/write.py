"""Run a job and write its rows, with what it did in the driver's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segue.spark.session import check_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("segue")


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Log how long a part of the work took."""
    started = time.perf_counter()
    yield
    log.info("%s in %.1f s", what, time.perf_counter() - started)


def write(rows: DataFrame, path: str, *, what: str = "recommendations", overwrite: bool = False) -> int:
    """Write a frame as a folder of Parquet files; return the number of rows and log the time it took.

    A task that is retried writes the same rows; Spark publishes the files of finished tasks only. Raises
    what Spark raises, a path that is there already included, unless `overwrite`.
    """
    check_spark()
    from pyspark.sql import Observation, functions

    told = Observation(what)
    started = time.perf_counter()
    counted = rows.observe(told, functions.count(functions.lit(1)).alias("rows"))
    counted.write.mode("overwrite" if overwrite else "errorifexists").parquet(path)
    count, took = int(told.get["rows"]), time.perf_counter() - started
    log.info("%s %s written to %s in %.1f s", f"{count:,}", what, path, took)
    return count
