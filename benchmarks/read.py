"""Measure the time and memory to read a ratings file with the shape of MovieLens 25M.

    python benchmarks/read.py            integer ids, as in MovieLens
    python benchmarks/read.py --strings  ids such as u123 and m456
    python benchmarks/read.py --shuffled rows in random order

The file is simulated into a temporary folder and read by a new process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

USERS, ITEMS, ROWS = 162_541, 62_423, 25_000_000
MIN_ACTIVITY = 20  # ratings of each user
FIRST, LAST = 789_652_009, 1_574_327_703  # timestamps of the oldest and newest rating of MovieLens 25M


def ratings(rows: int, strings: bool, shuffled: bool) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    activity = rng.lognormal(0.0, 1.1, USERS)
    counts = np.int64(MIN_ACTIVITY * 1.3 + activity / activity.sum() * rows * 1.2)
    popularity = np.cumsum((np.arange(ITEMS) + 60.0) ** -1.2)
    ranks = np.searchsorted(popularity, rng.random(counts.sum()) * popularity[-1])
    items = rng.permutation(ITEMS)[ranks]
    pairs = pl.Series(np.repeat(np.arange(USERS), counts) * ITEMS + items).unique().sort().to_numpy()
    if len(pairs) > rows:
        pairs = np.delete(pairs, rng.choice(len(pairs), len(pairs) - rows, replace=False))
    if shuffled:
        rng.shuffle(pairs)
    frame = pl.DataFrame(
        {
            "userId": pairs // ITEMS + 1,
            "movieId": pairs % ITEMS + 1,
            "rating": rng.integers(1, 11, len(pairs)) / 2,
            "timestamp": rng.integers(FIRST, LAST, len(pairs)),
        }
    )
    if strings:
        frame = frame.with_columns(
            pl.format("u{}", "userId").alias("userId"), pl.format("m{}", "movieId").alias("movieId")
        )
    return frame


def read(path: Path) -> None:
    """Read the file in the new process, and print time and memory."""
    started = time.perf_counter()
    from segue.data.sources import read_interactions

    imported = time.perf_counter()
    data = read_interactions(path)
    seconds = time.perf_counter() - imported
    users, items = data.matrix.shape
    print(
        json.dumps(
            {
                "users": users,
                "items": items,
                "interactions": len(data),
                "import_seconds": round(imported - started, 2),
                "read_seconds": round(seconds, 2),
                "peak_gib": round(peak_gib(), 2),
            }
        )
    )


def peak_gib() -> float:
    """Return the peak memory of this process in GiB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--strings", action="store_true")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        ratings(arguments.rows, arguments.strings, arguments.shuffled).write_csv(path)
        size = path.stat().st_size / 2**20
        process = subprocess.run(
            [sys.executable, __file__, "--read", str(path)], check=True, stdout=subprocess.PIPE, text=True
        )
    result = {
        "benchmark": "read",
        "strings": arguments.strings,
        "shuffled": arguments.shuffled,
        **json.loads(process.stdout),
    }
    print(f"{'interactions':>14} {'file MiB':>9} {'seconds':>8} {'peak GiB':>9}")
    print(f"{result['interactions']:>14,} {size:>9,.0f} {result['read_seconds']:>8} {result['peak_gib']:>9}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
