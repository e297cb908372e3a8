"""Measure start-up time: `segue recommend` from a shell, and the first fit without compiled kernels.

    python benchmarks/start.py [--repeats 9]

The times are those of whole processes. The models have 64 dimensions and the sizes of `SHAPES` (users, items,
interactions). The first fit starts with an empty kernel cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import segue

SHAPES = {"small": (610, 9742, 100_000), "large": (100_000, 25_000, 2_000_000)}
FIRST_USE = """
import scipy.sparse, segue
data = segue.read_interactions(scipy.sparse.random(500, 400, 0.05, "csr", random_state=0))
recommender = segue.Recommender().fit(data)
recommender.recommend([1, 2], k=5)
"""


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--repeats", type=int, default=9)
    repeats = arguments.parse_args().repeats
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            model = Path(folder) / name
            segue.Recommender().fit(segue.data.simulate(*shape)).save(model)
            command = [sys.executable, "-m", "segue", "recommend", str(model), "--user", "7"]
            seconds(command)
            rows[f"segue recommend, {name} model"] = [seconds(command) for _ in range(repeats)]
        rows["first fit → recommend, empty kernel cache"] = [
            seconds([sys.executable, "-c", FIRST_USE], Path(folder) / f"cache{run}") for run in range(3)
        ]
        rows["the same, cached kernels"] = [
            seconds([sys.executable, "-c", FIRST_USE], Path(folder) / "cache0") for _ in range(repeats)
        ]
    table = Table("process", "median s", "min s", "max s")
    for name, times in rows.items():
        table.add_row(name, *(f"{f(times):.2f}" for f in (statistics.median, min, max)))
    Console().print(table)
    print(json.dumps({name: round(statistics.median(times), 3) for name, times in rows.items()}))


def seconds(command: list[str], cache: Path | None = None) -> float:
    """Run a command and return its wall time in seconds."""
    environment = dict(os.environ) if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
