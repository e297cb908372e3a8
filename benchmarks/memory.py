"""The memory that training takes: WARP with 64 dimensions on 25 million simulated interactions.

    python benchmarks/memory.py [--interactions 25000000] [--users 162541] [--items 62423] [--epochs 2]

The interactions are made by one process and learned from by another, whose peak of resident memory is told:
with Python, numba and the interactions themselves in it, and after these have been read.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import scipy.sparse as sp

import segue
from segue.data.interactions import from_csr


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("interactions", 25_000_000), ("users", 162_541), ("items", 62_423), ("dim", 64), ("epochs", 2),
    ):  # fmt: skip
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--step", choices=("simulate", "learn"), help="what one of the processes does")
    arguments.add_argument("--file", type=Path)
    given = arguments.parse_args()
    if given.step == "simulate":
        data = segue.data.simulate(given.users, given.items, given.interactions)
        sp.save_npz(given.file, data.matrix, compressed=False)
    elif given.step == "learn":
        learn(given.file, given.dim, given.epochs)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("simulate", "learn"):
                line = [*sys.argv, "--step", step, "--file", f"{folder}/interactions.npz"]
                subprocess.run([sys.executable, *line], check=True)


def learn(file: Path, dim: int, epochs: int) -> None:
    data = from_csr(sp.load_npz(file))
    read = peak()
    moments: list[float] = []
    segue.WARP(dim=dim, epochs=epochs).fit(data, progress=lambda *_: moments.append(time.perf_counter()))
    seconds = min(later - earlier for earlier, later in pairwise(moments))
    print(json.dumps({
        "interactions": len(data), "users": len(data.users), "items": len(data.items), "dim": dim,
        "peak GiB after reading": round(read, 2), "peak GiB": round(peak(), 2),
        "seconds of the best epoch": round(seconds, 1),
    }))  # fmt: skip


def peak() -> float:
    """The most memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
