"""Compare all indexes with other libraries: the time of the least effort that reaches a recall.

    python benchmarks/index.py [--part glove fashion million article article-glove] [--models ials bpr]
        [--indexes exact ivf hnsw forest lsh hnsw:m=24] [--peers scann hnswlib annoy | --peers none]
        [--targets 0.95 0.99] [--queries 4000] [--repeats 5] [--cache FOLDER] [--fashion FOLDER]
        [--plot FILE.png]

glove: 390,000 words × 50 by cosine, asked with others. fashion: Fashion-MNIST's 60,000 × 784 by euclidean
distance, asked with its test images (Debian's package dataset-fashion-mnist). million: 1,000,000 vectors × 64
by inner product, drawn from those of amazon-book's items and moved, asked with its users. article: what
each index of ours loses of recall for how much more speed than brute force (numpy), on amazon-book's own
vectors, and on GloVe (article-glove), as a table in Markdown.

k = 10, two threads each. Sweeps are searched for the first setting that reaches a target; then all that are
not hopelessly slow take turns, and medians count. Recall is against float64. With `--cache`, vectors and
built indexes are kept there with the seconds that they took, so that a second run is mostly searching, and
long parts can be made of several runs with some `--indexes` and `--peers` each. Our own are built anew where
settings have changed; after a change of the code, delete them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from segue.bench.chart import draw
from segue.bench.ground_truth import GroundTruth
from segue.bench.numpy_peer import NUMPY
from segue.bench.peer import Peer, Setting
from segue.bench.peers import select_peers
from segue.bench.race import Runner, build_peer, race
from segue.bench.segue_indexes import build_index
from segue.index.base import IndexSettings
from segue.index.registry import INDEXES, concrete_indexes
from segue.index.timing import single_microseconds
from vectors import FASHION, Vectors, fashion, glove, jittered, keep, learned

THREADS, K, MILLION = 2, 10, 1_000_000
ALONE = 200  # queries that are asked one at a time
LOSSES = (0.01, 0.05, 0.1, 0.4)  # of recall, in the article's table
OURS = "segue "
Rows = list[dict[str, Any]]
log = logging.getLogger("segue")


class Case(NamedTuple):
    """Named vectors to compare on."""

    name: str
    metric: str
    vectors: Vectors


def main() -> None:
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ["SEGUE_THREADS"] = str(THREADS)
    found = {case.name: compare(case, given, given.targets, given.peers) for case in raced(given)}
    told = {}
    for case in described(given):
        targets = [1 - loss for loss in sorted(LOSSES, reverse=True)]
        told[case.name] = compare(case, given, targets, [NUMPY.name])
    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, rows in (*found.items(), *told.items()):
        console.print(table(name, rows))
    for name, rows in told.items():
        print(f"\n{name}\n\n{article(rows)}\n")
    if given.plot:
        draw({name: curves(rows) for name, rows in (found or told).items()}, given.plot)
    print(json.dumps({**found, "article": told}))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["glove", "fashion", "million", "article", "article-glove"]
    parser.add_argument("--part", nargs="+", default=parts, choices=parts)
    parser.add_argument("--models", nargs="+", default=["ials", "bpr"], choices=["ials", "bpr"])
    parser.add_argument("--indexes", nargs="+", default=concrete_indexes(), help="NAME or NAME:SETTING=VALUE")
    parser.add_argument("--peers", nargs="+", default=["scann tree", "hnswlib", "annoy", "faiss IVF"])
    parser.add_argument("--targets", type=float, nargs="+", default=[0.95, 0.99])
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fashion", type=Path, default=FASHION)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def raced(given: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases that are compared with other libraries."""
    if "glove" in given.part:
        yield Case("glove-50", "cosine", glove(given.queries))
    if "fashion" in given.part:
        yield Case("fashion-mnist", "euclidean", fashion(given.fashion, given.queries))
    for model in given.models if "million" in given.part else ():
        items, users = learned("amazon-book", model, 64, given.cache)
        yield Case(f"million-{model}-64", "dot", Vectors(jittered(items, MILLION), drawn(users, given)))


def described(given: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases of the article's table."""
    for model in given.models if "article" in given.part else ():
        items, users = learned("amazon-book", model, 64, given.cache)
        yield Case(f"amazon-book-{model}-64", "dot", Vectors(items, drawn(users, given)))
    if "article-glove" in given.part:
        yield Case("glove-50", "cosine", glove(given.queries))


def drawn(users: np.ndarray, given: argparse.Namespace) -> np.ndarray:
    """Return a sample of the users with a fixed seed."""
    sample: np.ndarray = users[np.random.default_rng(0).permutation(len(users))[: given.queries]]
    return sample


def compare(case: Case, given: argparse.Namespace, targets: list[float], parts: list[str]) -> Rows:
    """Build each index once, then time all for each recall."""
    name, metric, (items, queries) = case
    truth = GroundTruth(items, queries, metric)
    folder = given.cache / name if given.cache else None
    (kth,) = keep(folder, f"kth-{len(queries)}-{K}", lambda: truth.kth_scores((K,), THREADS))
    runners: list[Runner] = []
    sweeps: dict[str, list[list[Setting]]] = {}
    for text in given.indexes:
        log.info("building %s%s", OURS, text)
        runner, index = build_index(parse_settings(text, metric), f"{OURS}{text}", items, queries, folder)
        runners.append(runner)
        sweeps[runner.name] = [[*index.efforts(K)] or [None]]
    for peer in present(parts, metric):
        runners.append(build_peer(peer, items, metric, THREADS, folder))
        sweeps[peer.name] = peer.sweeps(len(items), K)
    rows = []
    for target in targets:
        log.info("%s: recall %s", name, target)
        fresh = [Runner(one.name, one.build_s, one.search, one.is_exact) for one in runners]
        race(fresh, sweeps, queries, K, lambda ids: truth.recall(ids, kth), target, given.repeats)
        rows += [row(target, one, queries) for one in fresh]
    return rows


def parse_settings(text: str, metric: str) -> IndexSettings:
    """Return the settings that NAME:SETTING=VALUE names."""
    name, *pairs = text.split(":")
    numbers = {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
    settings_class: Any = INDEXES[name]
    settings: IndexSettings = settings_class(metric=metric, **numbers)
    return settings


def present(parts: list[str], metric: str) -> list[Peer]:
    """Return the requested libraries that are installed."""
    named = [] if parts == ["none"] else select_peers(parts, metric)
    for peer in named:
        if peer.absent():
            log.info("absent: %s", peer.absent())
    return [peer for peer in named if not peer.absent()]


def row(target: float, one: Runner, queries: np.ndarray) -> dict[str, Any]:
    """Return the measurements of a runner, with the time of a single query."""
    measured = one.row()
    alone = None
    if measured["reached"]:
        alone = round(single_microseconds(one.search, queries[:ALONE], K, measured["setting"]), 1)
    return {"target": target, **measured, "alone_us": alone, "ours": one.name.startswith(OURS)}


def curves(rows: Rows) -> Rows:
    """Return one row per index, with the points of all targets."""
    names = dict.fromkeys(row["name"] for row in rows)
    merged = []
    for name in names:
        own = [row for row in rows if row["name"] == name]
        points = [point for row in own for point in row["points"]]
        merged.append({**own[-1], "name": name.removeprefix(OURS), "points": points})
    return merged


def article(rows: Rows) -> str:
    """Return a Markdown table of the speed-up over brute force, by the share of recall lost."""
    losses = sorted(LOSSES)
    lines = ["| index | " + " | ".join(f"{loss:.0%} lost" for loss in losses) + " |"]
    lines.append("|---" * (len(losses) + 1) + "|")
    for name in dict.fromkeys(row["name"] for row in rows if row["ours"]):
        cells = []
        for loss in losses:
            at = {row["name"]: row for row in rows if row["target"] == 1 - loss}
            us = at[name]["us"] if at[name]["reached"] else None
            cells.append("not reached" if us is None else f"{at[NUMPY.name]['us'] / us:.3g}×")
        lines.append(f"| {name.removeprefix(OURS)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(title: str, rows: Rows) -> Table:
    """Return a table of the rows without their points, the fastest first."""
    names = [name for name in rows[0] if name not in ("points", "rounds_us", "ours")]
    made = Table(*names, title=title)
    for row in sorted(rows, key=lambda row: (row["target"], not row["reached"], row["us"])):
        made.add_row(*(str(row[name]) for name in names))
    return made


if __name__ == "__main__":
    main()
