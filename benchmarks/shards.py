"""Measure the memory of Spark's driver while it builds and searches shards, for two numbers of items.

    python benchmarks/shards.py [--items 100000 1000000] [--dim 64] [--queries 2000] [--shards 8]

On `local-cluster[2,1,3072]`: two executors in processes of their own, separate from the driver.
Items come from Parquet. Each size runs in a new process; the table shows the peak memory of that process and
of its JVM.
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
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

MASTER = "local-cluster[2,1,3072]"
PEAK_FIELD = "VmHWM:"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measure(arguments.folder, arguments.shards)))
        return
    rows = []
    for count in arguments.items:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "items"), count, arguments.dim, "item_id")
            write(Path(folder, "queries"), arguments.queries, arguments.dim, "query_id")
            command = [sys.executable, __file__, "--folder", folder, "--shards", str(arguments.shards)]
            stdout = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"items": count, **json.loads(stdout.splitlines()[-1])})
    table = Table(*rows[0], title="peak memory of the driver, MiB")
    for row in rows:
        table.add_row(
            *(f"{value:,.0f}" if isinstance(value, float) else f"{value:,}" for value in row.values())
        )
    Console().print(table)
    print(json.dumps({"shards": rows}))


def write(folder: Path, count: int, dim: int, name: str) -> None:
    """Write vectors of lognormal norms as eight Parquet files."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    for part, rows in enumerate(np.array_split(np.arange(count), 8)):
        vectors = rng.standard_normal((len(rows), dim)) * rng.lognormal(0, 0.5, (len(rows), 1))
        frame = pl.DataFrame({name: rows, "vector": list(vectors.astype(np.float32))})
        frame.write_parquet(folder / f"{part}.parquet")


def measure(folder: Path, shards: int) -> dict[str, float]:
    """Build and search shards; return the peak memory of the driver's two processes and the seconds."""
    from segue.spark import build_shards, search_shards, session

    spark = session(MASTER)
    started = time.perf_counter()
    build_shards(spark.read.parquet(str(folder / "items")), folder / "shards", shards)
    built = time.perf_counter()
    results = search_shards(spark.read.parquet(str(folder / "queries")), folder / "shards", 10)
    results.write.parquet(str(folder / "results"))
    ended = time.perf_counter()
    jvm: Any = spark.sparkContext._jvm
    java = jvm.java.lang.ProcessHandle.current().pid()
    return {
        "python": peak(os.getpid()), "java": peak(java), "build_s": built - started, "search_s": ended - built
    }  # fmt: skip


def peak(process: int) -> float:
    """Return the peak memory of a process in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(PEAK_FIELD))


if __name__ == "__main__":
    main()
