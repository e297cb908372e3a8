"""A race of searches: each one's fastest setting that reaches a recall, timed in turn with the others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segue.bench.peers import FLAT, Peer
from segue.index.timing import Point, Search, climb, microseconds
from segue.progress import Progress, silent

log = logging.getLogger("segue")

HOPELESS = 4  # times the time of the fastest approximate one: takes no turns


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


def built(peer: Peer, items: np.ndarray, metric: str, threads: int, folder: Path | None) -> Runner:
    """Build, or load what an earlier run built and the seconds it took."""
    log.info("building %s", peer.name)
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


def race(
    runners: list[Runner],
    sweeps: dict[str, list[list[Any]]],
    queries: np.ndarray,
    k: int,
    recall: Callable[[np.ndarray], float],
    target: float,
    repeats: int,
    progress: Progress = silent,
) -> None:
    """Fill in the runners: their points, and the medians of turns that they take at their best.

    Those that the sweep shows to be `HOPELESS` keep what the sweep measured.
    """
    limit = np.inf
    for place, runner in enumerate(sorted(runners, key=lambda runner: not runner.is_exact)):
        progress("finding settings", place, len(runners))

        def measure(setting: Any, search: Search = runner.search) -> Point:
            us, ids = microseconds(search, queries, k, setting)
            return Point(setting, recall(ids), us)

        for settings in sweeps[runner.name]:
            runner.points += climb(settings, measure, target, limit)
        reached = [point for point in runner.points if point.recall >= target]
        runner.best = min(reached, key=lambda point: point.us, default=None)
        if runner.name == FLAT.name and runner.best:
            limit = 1.5 * runner.best.us  # an approximate search that is slower has no use
        log.info("%s: %s", runner.name, runner.best or "not reached")
    racing = contenders(runners)
    progress("finding settings", len(runners), len(runners))
    for turn in range(repeats):
        progress("taking turns", turn, repeats)
        for runner, best in racing:
            runner.turns.append(microseconds(runner.search, queries, k, best.setting)[0])
    progress("taking turns", repeats, repeats)
    for runner, best in racing:
        best.us = float(np.median(runner.turns)) if runner.turns else best.us


def contenders(runners: list[Runner]) -> list[tuple[Runner, Point]]:
    """The exact ones, and the approximate ones that reach the target in reasonable time."""
    reached = [(runner, runner.best) for runner in runners if runner.best]
    fastest = min((best.us for runner, best in reached if not runner.is_exact), default=np.inf)
    return [(runner, best) for runner, best in reached if runner.is_exact or best.us <= HOPELESS * fastest]
