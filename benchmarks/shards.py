"""The memory of Spark's driver while shards are built and searched, as items grow tenfold.

    python benchmarks/shards.py [--items 100000 1000000] [--dim 64] [--queries 2000] [--shards 8]

On `local-cluster[2,1,3072]`: two executors in processes of their own, so that the driver's memory is its own.
Items come from Parquet. Each size runs in a new process; what counts is the most memory that it and its JVM
had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

MASTER = "local-cluster[2,1,3072]"
STATUS = "VmHWM:"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        print(json.dumps(measured(given.folder, given.shards)))
        return
    rows = []
    for count in given.items:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "items"), count, given.dim, "item_id")
            write(Path(folder, "queries"), given.queries, given.dim, "query_id")
            command = [sys.executable, __file__, "--folder", folder, "--shards", str(given.shards)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"items": count, **json.loads(told.splitlines()[-1])})
    table = Table(*rows[0], title="memory of the driver, MiB at most")
    for row in rows:
        table.add_row(
            *(f"{value:,.0f}" if isinstance(value, float) else f"{value:,}" for value in row.values())
        )
    Console().print(table)
    print(json.dumps({"shards": rows}))


def write(folder: Path, count: int, dim: int, name: str) -> None:
    """Write vectors of lognormal lengths in parts."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    for part, rows in enumerate(np.array_split(np.arange(count), 8)):
        vectors = rng.standard_normal((len(rows), dim)) * rng.lognormal(0, 0.5, (len(rows), 1))
        frame = pl.DataFrame({name: rows, "vector": list(vectors.astype(np.float32))})
        frame.write_parquet(folder / f"{part}.parquet")


def measured(folder: Path, shards: int) -> dict[str, float]:
    """Build and search; return the memory of both processes of the driver and the seconds."""
    from segue.spark import build_shards, search_shards, session

    spark = session(MASTER)
    started = time.perf_counter()
    build_shards(spark.read.parquet(str(folder / "items")), folder / "shards", shards)
    built = time.perf_counter()
    found = search_shards(spark.read.parquet(str(folder / "queries")), folder / "shards", 10)
    found.write.parquet(str(folder / "found"))
    ended = time.perf_counter()
    java = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    return {
        "python": peak(os.getpid()), "java": peak(java), "build_s": built - started, "search_s": ended - built
    }  # fmt: skip


def peak(process: int) -> float:
    """The most memory that a process had, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(STATUS))


if __name__ == "__main__":
    main()
