"""Write frames as Parquet; log the duration of each stage of a job."""

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
def stage(name: str) -> Iterator[None]:
    """Log the name and the duration of a stage."""
    started = time.perf_counter()
    yield
    log.info("%s in %.1f s", name, time.perf_counter() - started)


def write(rows: DataFrame, path: str, *, noun: str = "recommendations", overwrite: bool = False) -> int:
    """Write a frame as a folder of Parquet files, log the duration, and return the number of rows.

    A retried task writes the same rows; Spark publishes only the files of finished tasks.

    Args:
        rows: the frame to write.
        path: the folder to write.
        noun: the name of the rows in the log.
        overwrite: replace an existing folder; otherwise Spark raises an error for it.
    """
    check_spark()
    from pyspark.sql import Observation, functions

    observation = Observation(noun)
    started = time.perf_counter()
    counted = rows.observe(observation, functions.count(functions.lit(1)).alias("rows"))
    counted.write.mode("overwrite" if overwrite else "errorifexists").parquet(path)
    count, seconds = int(observation.get["rows"]), time.perf_counter() - started
    log.info("%s %s written to %s in %.1f s", f"{count:,}", noun, path, seconds)
    return count
