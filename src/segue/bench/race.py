"""Compare searches at a target recall: find the fastest setting of each, then time them in rounds."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from segue.bench.faiss_peers import FLAT
from segue.bench.peer import Peer, Setting, Sweep
from segue.index.effort import Point, climb
from segue.index.timing import Search, microseconds
from segue.progress import Progress, silent

log = logging.getLogger("segue")

TOO_SLOW = 4  # times the time of the fastest approximate search: not timed in rounds


class RunnerRow(TypedDict):
    """The measurements of one search.

    Attributes:
        name: the name of the library or index.
        us: microseconds per query in a batch, at `setting`.
        recall: the recall at `setting`.
        reached: whether any setting reached the target recall.
        setting: the fastest setting that reached it, else the one with the highest recall.
        build_s: seconds to build the index.
        rounds_us: microseconds per query in each round.
        points: all measured settings, (setting, recall, microseconds).
    """

    name: str
    us: float
    recall: float
    reached: bool
    setting: Setting
    build_s: float
    rounds_us: list[float]
    points: list[tuple[Setting, float, float]]


@dataclass
class Runner:
    """A built search and its measurements.

    Attributes:
        name, build_s: as in `RunnerRow`.
        search: the search.
        is_exact: whether it always finds the true neighbors.
        points: all measured settings.
        best: the fastest point that reached the target.
        rounds: microseconds per query in each round.
    """

    name: str
    build_s: float
    search: Search
    is_exact: bool
    points: list[Point] = field(default_factory=list)
    best: Point | None = None
    rounds: list[float] = field(default_factory=list)

    def row(self) -> RunnerRow:
        """Return all measurements, rounded, for tables and JSON."""
        point = self.best or max(self.points, key=lambda point: point.recall)
        return {
            "name": self.name,
            "us": round(point.us, 2),
            "recall": round(point.recall, 4),
            "reached": self.best is not None,
            "setting": point.setting,
            "build_s": round(self.build_s, 2),
            "rounds_us": [round(us, 2) for us in self.rounds],
            "points": [(point.setting, round(point.recall, 4), round(point.us, 2)) for point in self.points],
        }


def build_peer(peer: Peer, items: np.ndarray, metric: str, threads: int, folder: Path | None) -> Runner:
    """Build a library's index, or load the one that an earlier run saved in `folder` with its build time."""
    log.info("building %s", peer.name)
    path = times = None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / peer.name.replace(" ", "-")
        times = path.with_name(f"{path.name}.seconds")
    saved = json.loads(times.read_text()) if times and times.exists() else None
    started = time.perf_counter()
    search = peer.build(items, metric, threads, path)
    seconds = time.perf_counter() - started
    if times and saved is None:
        times.write_text(json.dumps(seconds))
    return Runner(peer.name, seconds if saved is None else saved, search, peer.is_exact)


def race(
    runners: list[Runner],
    sweeps: dict[str, list[Sweep]],
    queries: np.ndarray,
    k: int,
    recall: Callable[[np.ndarray], float],
    target: float,
    repeats: int,
    progress: Progress = silent,
) -> None:
    """Measure runners in place: sweep their settings, then time the best ones in rounds and take medians.

    Searches that the sweep finds `TOO_SLOW` keep the time that it measured.

    Args:
        runners: the searches.
        sweeps: the settings of each search by its name.
        queries: (q, dim) float32.
        k: the number of neighbors.
        recall: the recall of results (q, k).
        target: the recall to reach.
        repeats: the number of rounds.
        progress: called before each search and each round.
    """
    limit = np.inf
    for place, runner in enumerate(sorted(runners, key=lambda runner: not runner.is_exact)):
        progress("finding settings", place, len(runners))
        _sweep(runner, sweeps[runner.name], queries, k, recall, target, limit)
        if runner.name == FLAT.name and runner.best:
            limit = 1.5 * runner.best.us  # a slower approximate search has no use
        log.info("%s: %s", runner.name, runner.best or "not reached")
    progress("finding settings", len(runners), len(runners))
    racing = contenders(runners)
    for number in range(repeats):
        progress("timing rounds", number, repeats)
        for runner, best in racing:
            runner.rounds.append(microseconds(runner.search, queries, k, best.setting)[0])
    progress("timing rounds", repeats, repeats)
    for runner, best in racing:
        best.us = float(np.median(runner.rounds)) if runner.rounds else best.us


def _sweep(
    runner: Runner,
    sweeps: list[Sweep],
    queries: np.ndarray,
    k: int,
    recall: Callable[[np.ndarray], float],
    target: float,
    limit: float,
) -> None:
    """Measure a runner's settings and select the fastest one that reaches the target."""

    def measure(setting: Setting) -> Point:
        us, ids = microseconds(runner.search, queries, k, setting)
        return Point(setting, recall(ids), us)

    for settings in sweeps:
        runner.points += climb(settings, measure, target, limit)
    reached = [point for point in runner.points if point.recall >= target]
    runner.best = min(reached, key=lambda point: point.us, default=None)


def contenders(runners: list[Runner]) -> list[tuple[Runner, Point]]:
    """Return the exact searches, and the approximate ones that reach the target and are not `TOO_SLOW`."""
    reached = [(runner, runner.best) for runner in runners if runner.best]
    fastest = min((best.us for runner, best in reached if not runner.is_exact), default=np.inf)
    return [(runner, best) for runner, best in reached if runner.is_exact or best.us <= TOO_SLOW * fastest]
