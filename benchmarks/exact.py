"""Exact search against the libraries of `peers.py`, at the setting with which each first reaches a recall.

    python benchmarks/exact.py [--part recommend glove latency million roofline]
        [--data gowalla amazon-book …] [--models ials bpr] [--dims 32 64 128 256] [--k 10 100]
        [--peers hnswlib scann] [--queries 10000] [--repeats 5] [--target 0.95]
        [--cache FOLDER] [--plot FILE.png]

recommend: vectors learned from interactions, asked with users by inner product. glove: 390,000 words by
cosine, asked with 10,000 others. latency: one query at a time through Python, among amazon-book's items and
among a million that are drawn from them and moved. million: build time and memory of a million. roofline: the
inner loop on cached data, and within a search that rules nothing out.

Two threads each. Sweeps are searched for the first setting that reaches the target; then all that are not
hopelessly slow take turns, and medians count. Recall is against float64, and a tie in float32 is no mistake.
With `--cache`, vectors and the peers' indexes are kept there, so that a second run is mostly searching, and
long parts can be made of several runs with some `--peers` each.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import logging
import os
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import segue
from roofline import roofline
from segue.bench.chart import draw
from segue.bench.faiss_peers import FLAT
from segue.bench.ground_truth import GroundTruth
from segue.bench.numpy_peer import NUMPY
from segue.bench.peer import Peer, exact_sweep
from segue.bench.peers import select_peers
from segue.bench.race import Runner, build_peer, race
from segue.index.timing import Search
from vectors import Vectors, glove, jittered, keep, learned

THREADS = 2
MILLION = 1_000_000
SAMPLED = 1000  # queries by which segue chooses a layout
EXAMINED = 1000  # queries of which segue's scored vectors are counted
Rows = list[dict[str, Any]]
log = logging.getLogger("segue")


def main() -> None:
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ["SEGUE_THREADS"] = str(THREADS)
    curves: dict[str, Rows] = {}
    for name, metric, vectors in raced(given):
        curves |= compare(name, vectors, metric, given)
    report: dict[str, Rows] = {"ratios": [ratios(label, rows) for label, rows in curves.items()]}
    if "latency" in given.part:
        report["latency"] = [row for model in given.models for row in latency(model, given.cache)]
    if "million" in given.part:
        report["million"] = [million(model, given.cache) for model in given.models]
    if "roofline" in given.part:
        report["roofline"] = [roofline()]
    console = Console(width=None if sys.stdout.isatty() else 160)
    for title, rows in (*curves.items(), *report.items()):
        if rows:
            console.print(table(title, rows))
    if given.plot and curves:
        draw(curves, given.plot)
    print(json.dumps({**report, "points": curves}))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["recommend", "glove", "latency", "million", "roofline"]
    parser.add_argument("--part", nargs="+", default=parts, choices=parts)
    parser.add_argument("--data", nargs="+", default=["gowalla", "amazon-book", "ml-latest-small"])
    parser.add_argument("--models", nargs="+", default=["ials", "bpr"], choices=["ials", "bpr"])
    parser.add_argument("--dims", type=int, nargs="+", default=[64])
    parser.add_argument("--k", type=int, nargs="+", default=[10])
    parser.add_argument("--peers", nargs="+", default=[], help="parts of their names; all by default")
    parser.add_argument("--queries", type=int, default=10_000, help="users drawn, or words held out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--target", type=float, default=0.95)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def raced(given: argparse.Namespace) -> Iterator[tuple[str, str, Vectors]]:
    """Name, metric and vectors; learned ones are asked with some of the users, drawn once for all."""
    names = itertools.product(given.data, given.models, given.dims) if "recommend" in given.part else ()
    for data, model, dim in names:
        log.info("learning %s %s %s", data, model, dim)
        items, users = learned(data, model, dim, given.cache)
        drawn = np.random.default_rng(0).permutation(len(users))[: given.queries]
        yield f"{data}-{model}-{dim}", "dot", Vectors(items, users[drawn])
    if "glove" in given.part:
        yield "glove-50", "cosine", glove(given.queries)


def compare(name: str, vectors: Vectors, metric: str, given: argparse.Namespace) -> dict[str, Rows]:
    """Build each index once, then time all for each k."""
    items, queries = vectors
    truth = GroundTruth(items, queries, metric)
    folder = given.cache / name if given.cache else None
    ks = tuple(given.k)
    label = f"kth-{len(queries)}-{'-'.join(map(str, ks))}"
    kth = keep(folder, label, lambda: truth.kth_scores(ks, THREADS))
    named = select_peers(given.peers, metric)
    present = [peer for peer in named if not peer.absent()]
    absent = [peer.absent() for peer in named if peer.absent()]
    for reason in absent:
        log.info("absent: %s", reason)
    peers = [ours(queries), *(peer for peer in (FLAT, NUMPY) if peer not in present), *present]
    runners = [build_peer(peer, items, metric, THREADS, folder) for peer in peers]
    found = {}
    for k, scores in zip(ks, kth, strict=True):
        runners = [Runner(runner.name, runner.build_s, runner.search, runner.is_exact) for runner in runners]
        sweeps = {peer.name: peer.sweeps(len(items), k) for peer in peers}

        def recall(ids: np.ndarray, kth: np.ndarray = scores) -> float:
            return truth.recall(ids, kth)

        race(runners, sweeps, queries, k, recall, given.target, given.repeats)
        rows: Rows = [{**runner.row()} for runner in runners]
        rows[0]["examined"] = round(examined(items, queries[:EXAMINED], k, metric), 4)
        rows += [{"name": reason, "reached": False} for reason in absent]
        found[f"{name}-k{k}"] = rows
    return found


def ours(sample: np.ndarray) -> Peer:
    """Return segue's exact search, built with a sample of queries as in `Recommender`."""

    def build(items: np.ndarray, metric: str, threads: int, kept: Path | None) -> Search:
        index = segue.index.Exact(metric=metric).build(items, queries=sample[:SAMPLED])

        def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
            found: np.ndarray = index.search(queries, k).ids
            return found

        return search

    return Peer("segue", "segue", build, exact_sweep, is_exact=True)


def examined(items: np.ndarray, queries: np.ndarray, k: int, metric: str) -> float:
    """Return the mean share of the items that segue scores for a query."""
    found = segue.index.Exact(metric=metric).build(items).search(queries, k)
    return float(found.examined.mean() / len(items))


def ratios(label: str, rows: Rows) -> dict[str, Any]:
    """Return the speed-up of segue over the fastest approximate peer, faiss flat and numpy."""
    us = {row["name"]: row["us"] for row in rows if row["reached"]}
    rivals = {name: value for name, value in us.items() if name not in ("segue", FLAT.name, NUMPY.name)}
    fastest = min(rivals, key=lambda name: rivals[name]) if rivals else FLAT.name
    return {
        "data": label,
        "segue_us": us["segue"],
        "segue_recall": rows[0]["recall"],
        "examined": rows[0]["examined"],
        "fastest": fastest,
        "fastest_us": us[fastest],
        "times_fastest": round(us[fastest] / us["segue"], 2),
        "times_flat": round(us[FLAT.name] / us["segue"], 2),
        "times_numpy": round(us[NUMPY.name] / us["segue"], 2),
    }


def latency(model: str, folder: Path | None) -> Rows:
    """Measure the median microseconds of a single query: segue and the other exact searches."""
    items, users = learned("amazon-book", model, 64, folder)
    rows = []
    for among, asked in ((items, 2000), (jittered(items, MILLION), 300)):
        queries = users[np.random.default_rng(1).permutation(len(users))[:asked]]
        row: dict[str, Any] = {"model": model, "items": len(among), "queries": asked}
        for peer in (ours(queries), FLAT, NUMPY):
            search = peer.build(among, "dot", THREADS, None)
            few = queries if peer.name == "segue" else queries[: asked // 10]
            row |= {f"{peer.name}_{name}_us": value for name, value in one_by_one(search, few).items()}
        rows.append(row)
    return rows


def one_by_one(search: Search, queries: np.ndarray) -> dict[str, float]:
    """Return the median and 99th percentile of the microseconds of a call with one query."""
    for query in queries[:20]:
        search(query[None], 10, None)
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query[None], 10, None)
        times.append((time.perf_counter() - started) * 1e6)
    return {"median": round(float(np.median(times)), 1), "p99": round(float(np.quantile(times, 0.99)), 1)}


def million(model: str, folder: Path | None) -> dict[str, Any]:
    """Measure the build time of a million vectors, and memory as a multiple of theirs."""
    items = jittered(learned("amazon-book", model, 64, folder).items, MILLION)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        index = segue.index.Exact().build(items)
        seconds.append(time.perf_counter() - started)
        arrays = index.arrays()
        del index
        gc.collect()
    held = sum(array.nbytes for array in arrays.values())
    del arrays
    tracemalloc.start()
    index = segue.index.Exact().build(items)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    taken = any(np.shares_memory(items, array) for array in index.arrays().values())
    given = items.nbytes if taken else 0  # held without a copy
    return {
        "model": model,
        "first_build_s": round(seconds[0], 2),
        "build_s": round(float(np.median(seconds[1:])), 2),
        "arrays_times": round(held / items.nbytes, 2),
        "memory_times": round((now + given) / items.nbytes, 2),
        "peak_times": round((peak + given) / items.nbytes, 2),
    }


def table(title: str, rows: Rows) -> Table:
    """Return a table of the rows without the points of the plot."""
    names = [name for name in rows[0] if name not in ("points", "rounds_us")]
    made = Table(*names, title=title)
    for row in sorted(rows, key=lambda row: row.get("us", 0)):
        made.add_row(*(str(row.get(name, "")) for name in names))
    return made


if __name__ == "__main__":
    main()
