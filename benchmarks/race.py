"""A race of searches: each one's fastest setting that reaches a recall, timed in turn with the others."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from peers import FLAT, Peer, Search

WARM_UP = 256  # queries asked before the clock is started
REST = 0.05  # seconds in which the threads of the one before fall asleep
SHORTEST, LONGEST = 0.05, 3.0  # seconds that a timing lasts; a slow search is asked fewer queries
STRIDE = 4  # settings jumped over while looking for the one
CEILING = 0.99  # the recall up to which the curve is drawn
GAIN = 0.001  # of recall by a leap, below which more leaps are in vain
HOPELESS = 4  # times the time of the fastest approximate one: takes no turns


@dataclass
class Point:
    """One setting of one search."""

    setting: Any
    recall: float
    us: float


@dataclass
class Runner:
    """A built search, what was measured of it, and the point with which it races."""

    name: str
    build_s: float
    search: Search
    is_exact: bool
    points: list[Point] = field(default_factory=list)
    best: Point | None = None
    turns: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Everything measured, for a table and for JSON."""
        reached = self.best or max(self.points, key=lambda point: point.recall)
        return {
            "name": self.name,
            "us": round(reached.us, 2),
            "recall": round(reached.recall, 4),
            "reached": self.best is not None,
            "setting": reached.setting,
            "build_s": round(self.build_s, 2),
            "turns_us": [round(turn, 2) for turn in self.turns],
            "points": [[point.setting, round(point.recall, 4), round(point.us, 2)] for point in self.points],
        }


def log(text: str) -> None:
    """Tell on the error stream how far the benchmark is."""
    print(text, file=sys.stderr, flush=True)


def built(peer: Peer, items: np.ndarray, metric: str, threads: int, folder: Path | None) -> Runner:
    """Build, or load what an earlier run built and the seconds it took."""
    log(f"building {peer.name}")
    kept = folder / peer.name.replace(" ", "-") if folder else None
    times = folder / f"{peer.name.replace(' ', '-')}.seconds" if folder else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(times.read_text()) if times and times.exists() else None
    started = time.perf_counter()
    search = peer.build(items, metric, threads, kept)
    took = time.perf_counter() - started
    if times and known is None:
        times.write_text(json.dumps(took))
    return Runner(peer.name, took if known is None else known, search, peer.is_exact)


def microseconds(search: Search, queries: np.ndarray, k: int, setting: Any) -> tuple[float, np.ndarray]:
    """Time a batch after a short one, as often as makes a timing; the time per query, and the ids.

    The queries of a batch cut short are the first ones, which are as random as the rest.
    """
    time.sleep(REST)
    started = time.perf_counter()
    search(queries[:WARM_UP], k, setting)
    each = (time.perf_counter() - started) / min(WARM_UP, len(queries))
    queries = queries[: max(WARM_UP, int(LONGEST / each))]
    passes, started = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - started < SHORTEST:
        ids = search(queries, k, setting)
        passes += 1
    return (time.perf_counter() - started) / passes / len(queries) * 1e6, ids


def climb(settings: list[Any], measure: Callable[[Any], Point], target: float, limit: float) -> list[Point]:
    """Measure settings from fast to accurate by leaps, then bisect for the first that reaches the target.

    Ends at `CEILING`, where a leap gains nothing, or where a query takes more than `limit` microseconds.
    """
    points: dict[int, Point] = {}
    before = -1.0
    for place in [*range(0, len(settings) - 1, STRIDE), len(settings) - 1]:
        points[place] = measure(settings[place])
        recall = points[place].recall
        if recall >= max(target, CEILING) or recall < before + GAIN or points[place].us > limit:
            break
        before = recall
    reached = [place for place, point in sorted(points.items()) if point.recall >= target]
    if reached:
        high = reached[0]
        low = max((place for place in points if place < high), default=-1)
        while high - low > 1:
            middle = (low + high) // 2
            points[middle] = measure(settings[middle])
            low, high = (low, middle) if points[middle].recall >= target else (middle, high)
    return [point for _, point in sorted(points.items())]


def race(
    runners: list[Runner],
    sweeps: dict[str, list[list[Any]]],
    queries: np.ndarray,
    k: int,
    recall: Callable[[np.ndarray], float],
    target: float,
    repeats: int,
) -> None:
    """Fill in the runners: their points, and the medians of turns that they take at their best.

    Those that the sweep shows to be `HOPELESS` keep what the sweep measured.
    """
    limit = np.inf
    for runner in sorted(runners, key=lambda runner: not runner.is_exact):

        def measure(setting: Any, search: Search = runner.search) -> Point:
            us, ids = microseconds(search, queries, k, setting)
            return Point(setting, recall(ids), us)

        for settings in sweeps[runner.name]:
            runner.points += climb(settings, measure, target, limit)
        reached = [point for point in runner.points if point.recall >= target]
        runner.best = min(reached, key=lambda point: point.us, default=None)
        if runner.name == FLAT.name and runner.best:
            limit = 1.5 * runner.best.us  # an approximate search that is slower has no use
        log(f"{runner.name}: {runner.best or 'not reached'}")
    racing = contenders(runners)
    for _ in range(repeats):
        for runner, best in racing:
            runner.turns.append(microseconds(runner.search, queries, k, best.setting)[0])
    for runner, best in racing:
        best.us = float(np.median(runner.turns)) if runner.turns else best.us


def contenders(runners: list[Runner]) -> list[tuple[Runner, Point]]:
    """The exact ones, and the approximate ones that reach the target in reasonable time."""
    reached = [(runner, runner.best) for runner in runners if runner.best]
    fastest = min((best.us for runner, best in reached if not runner.is_exact), default=np.inf)
    return [(runner, best) for runner, best in reached if runner.is_exact or best.us <= HOPELESS * fastest]
