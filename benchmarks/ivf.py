"""IVF and LSH beside exact search and other libraries: the least effort that reaches a recall, in turns.

    python benchmarks/ivf.py [--data glove ials bpr] [--target 0.95 0.99] [--peers scann "faiss IVF"]
        [--partitions 2000 4000] [--lsh] [--queries 10000] [--repeats 5] [--cache FOLDER]

glove: 390,000 words × 50 by cosine, asked with others. ials, bpr: 1,000,000 vectors × 64 by inner product,
drawn from those of amazon-book's items and moved, asked with its users. k = 10, two threads each.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import segue
from segue.bench.ours import runner
from segue.bench.peers import chosen
from segue.bench.race import Runner, built, race
from segue.bench.truth import Truth
from vectors import Vectors, glove, jittered, keep, learned

THREADS, K, MILLION = 2, 10, 1_000_000


def main() -> None:
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ["SEGUE_THREADS"] = str(THREADS)
    report: dict[str, Any] = {}
    for data in given.data:
        report |= compare(data, given)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for title, rows in report.items():
        console.print(table(title, rows))
    print(json.dumps(report))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["glove", "ials", "bpr"])
    parser.add_argument("--target", type=float, nargs="+", default=[0.95, 0.99])
    parser.add_argument(
        "--peers", nargs="+", default=["scann tree", "faiss IVF"], help="parts of their names"
    )
    parser.add_argument("--partitions", type=int, nargs="+", default=[], help="beside the default")
    parser.add_argument("--lsh", action="store_true", help="measure LSH too")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    return parser.parse_args()


def vectors_of(data: str, given: argparse.Namespace) -> tuple[str, Vectors]:
    """The metric, and what is searched and asked."""
    if data == "glove":
        return "cosine", glove(given.queries)
    items, users = learned("amazon-book", data, 64, given.cache)
    drawn = np.random.default_rng(0).permutation(len(users))[: given.queries]
    return "dot", Vectors(jittered(items, MILLION), users[drawn])


def compare(data: str, given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Build everybody once, then race for each target."""
    metric, (items, queries) = vectors_of(data, given)
    truth = Truth(items, queries, metric)
    folder = given.cache / f"{data}-{items.shape[1]}" if given.cache else None
    kth = keep(folder, f"kth-{len(queries)}-{K}", lambda: truth.kth((K,), THREADS))[0]
    kinds = segue.index
    named: dict[str, Any] = {"segue Exact": kinds.Exact(metric=metric), "segue IVF": kinds.IVF(metric=metric)}
    named |= {f"segue IVF {count}": kinds.IVF(count, metric=metric) for count in given.partitions}
    if given.lsh:
        named["segue LSH"] = kinds.LSH(metric=metric)
    runners, sweeps = [], {}
    for name, settings in named.items():
        made, index = runner(settings, name, items, queries)
        runners.append(made)
        sweeps[name] = [index.efforts(K) or [None]]
    for peer in chosen(given.peers, metric) if given.peers != ["none"] else []:
        runners.append(built(peer, items, metric, THREADS, folder))
        sweeps[peer.name] = peer.sweeps(len(items), K)
    found = {}
    for target in given.target:
        runners = [Runner(one.name, one.build_s, one.search, one.is_exact) for one in runners]
        race(runners, sweeps, queries, K, lambda ids: truth.recall(ids, kth), target, given.repeats)
        found[f"{data} {target}"] = [one.row() for one in runners]
    return found


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Rows as they are, without the points, the fastest first."""
    names = [name for name in rows[0] if name not in ("points", "turns_us")]
    made = Table(*names, title=title)
    for row in sorted(rows, key=lambda row: (not row["reached"], row["us"])):
        made.add_row(*(str(row[name]) for name in names))
    return made


if __name__ == "__main__":
    main()
