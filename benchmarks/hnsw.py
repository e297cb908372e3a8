"""HNSW against hnswlib: build time, and time per query at the first setting that reaches each recall.

    python benchmarks/hnsw.py [--part glove fashion million] [--targets 0.95 0.99] [--queries 4000]
        [--m 16 24] [--models ials bpr] [--peers hnswlib] [--repeats 5] [--cache FOLDER] [--fashion FOLDER]

glove: 390,000 words × 50 by cosine. fashion: Fashion-MNIST's 60,000 × 784 by euclidean distance, asked with
its test images (Debian's package dataset-fashion-mnist). million: amazon-book's item vectors, a million drawn
from them and moved, by inner product, asked with users. k = 10, two threads each, all queries in one call.
With `--cache`, what was built is kept there with the seconds it took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import segue
from exact import table
from segue.bench.peers import Peer, chosen, graph_sweep
from segue.bench.race import Runner, built, log, race
from segue.bench.truth import Truth
from segue.index.timing import Search
from vectors import FASHION, Vectors, fashion, glove, jittered, keep, learned

THREADS, K = 2, 10


def main() -> None:
    given = arguments()
    os.environ["SEGUE_THREADS"] = str(THREADS)
    rows = {name: compare(name, metric, vectors, given) for name, metric, vectors in cases(given)}
    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, found in rows.items():
        console.print(table(name, found))
    print(json.dumps(rows))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["glove", "fashion", "million"]
    parser.add_argument("--part", nargs="+", default=parts, choices=parts)
    parser.add_argument("--models", nargs="+", default=["ials", "bpr"], choices=["ials", "bpr"])
    parser.add_argument("--targets", type=float, nargs="+", default=[0.95, 0.99])
    parser.add_argument("--m", type=int, nargs="+", default=[16])
    parser.add_argument("--peers", nargs="+", default=["hnswlib"], help="parts of their names")
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fashion", type=Path, default=FASHION)
    return parser.parse_args()


def cases(given: argparse.Namespace) -> Iterator[tuple[str, str, Vectors]]:
    """Name, metric and vectors."""
    if "glove" in given.part:
        yield "glove-50", "cosine", glove(given.queries)
    if "fashion" in given.part:
        yield "fashion-mnist", "euclidean", fashion(given.fashion, given.queries)
    for model in given.models if "million" in given.part else ():
        items, users = learned("amazon-book", model, 64, given.cache)
        drawn = np.random.default_rng(0).permutation(len(users))[: given.queries]
        yield f"million-{model}-64", "dot", Vectors(jittered(items, 1_000_000), users[drawn])


def compare(name: str, metric: str, vectors: Vectors, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Build everybody once, then race for each recall."""
    items, queries = vectors
    truth = Truth(items, queries, metric)
    folder = given.cache / name if given.cache else None
    (kth,) = keep(folder, f"kth-{len(queries)}-{K}", lambda: truth.kth((K,), THREADS))
    peers = [*map(ours, given.m), *(peer for peer in chosen(given.peers, metric) if not peer.absent())]
    runners = [built(peer, items, metric, THREADS, folder) for peer in peers]
    sweeps = {peer.name: peer.sweeps(len(items), K) for peer in peers}
    rows = []
    for target in given.targets:
        log.info("%s: recall %s", name, target)
        fresh = [Runner(runner.name, runner.build_s, runner.search, runner.is_exact) for runner in runners]
        race(fresh, sweeps, queries, K, lambda ids: truth.recall(ids, kth), target, given.repeats)
        rows += [{"target": target, **runner.row()} for runner in fresh]
    return rows


def ours(m: int) -> Peer:
    """segue's HNSW."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        settings = segue.index.HNSW(m=m, metric=metric)
        settings.build(items[:100])  # compiles
        file = kept.with_suffix(".npz") if kept else None
        if file and file.exists():
            with np.load(file) as saved:
                index = settings.from_arrays(dict(saved))
        else:
            index = settings.build(items)
            if file:
                arrays: Any = index.arrays()
                np.savez(file, **arrays)

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            return index.search(queries, k, effort=setting).ids

        return search

    return Peer(f"segue M{m}", "segue", build, graph_sweep, is_graph=True)


if __name__ == "__main__":
    main()
