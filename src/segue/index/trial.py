"""Timed trials of indexes on a sample of queries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.index.base import Index, IndexSettings
from segue.index.effort import Point, climb
from segue.index.timing import microseconds, single_microseconds
from segue.progress import NOTHING, Progress

K = 10  # neighbors per query in every measurement
TOLERANCE = 1e-5  # relative difference of scores that float32 sums can cause


@dataclass(frozen=True)
class Measured:
    """The measurements of an index.

    Attributes:
        index: its name in `INDEXES`.
        settings: the settings as Python code.
        items: number of vectors that it was built on.
        effort: the least effort that reached the recall, or the most accurate that was tried; None for exact
            search.
        recall: the recall with this effort.
        us: microseconds per query.
        build_s: seconds to build, None if not timed.
        bytes: size of its arrays.
        reached: whether it reached the recall within the memory limit.
    """

    index: str
    settings: str
    items: int
    effort: int | None
    recall: float
    us: float
    build_s: float | None
    bytes: int
    reached: bool


@dataclass(frozen=True)
class Trial:
    """Builds and measures indexes over the same vectors with the same queries.

    Attributes:
        vectors: (n, dim) float32, all vectors.
        queries: (q, dim) float32, the sample of queries.
        recall: the recall to reach.
        is_single: time queries one by one instead of in a batch.
        memory: bytes that an index over all vectors may take; None for no limit.
        progress: called with the number of vectors indexed.
    """

    vectors: np.ndarray
    queries: np.ndarray
    recall: float
    is_single: bool
    memory: int | None
    progress: Progress

    def build(self, task: str, settings: IndexSettings, vectors: np.ndarray) -> tuple[Index, float]:
        """Return an index over vectors and the seconds it took to build; `task` names it in the progress."""

        def report(what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
            self.progress(task, done, total, values)

        started = time.perf_counter()
        index = settings.build(vectors, queries=self.queries, progress=report)
        return index, round(time.perf_counter() - started, 3)

    def measure(
        self, name: str, index: Index, build_s: float | None, kth: np.ndarray | None = None
    ) -> Measured:
        """Find the least effort of an index that reaches the recall.

        Args:
            name: the name of the index.
            index: the index.
            build_s: seconds it took to build, None if not timed.
            kth: (q, 1) float32, the true score of the k-th best item; None for exact search.
        """
        k = min(K, len(index))
        size = sum(array.nbytes for array in index.arrays().values())

        def search(queries: np.ndarray, k: int, effort: int | None) -> np.ndarray:
            return index.search(queries, k, effort=effort).scores

        def measure(effort: int | None) -> Point:
            us, scores = microseconds(search, self.queries, k, effort)
            recall = 1.0 if kth is None else float((scores >= kth[: len(scores)]).mean())
            return Point(effort, recall, us)

        points = climb(index.efforts(k) or [None], measure, self.recall)
        reached = [point for point in points if point.recall >= self.recall]
        best = reached[0] if reached else max(points, key=lambda point: point.recall)
        us = single_microseconds(search, self.queries, k, best.setting) if self.is_single else best.us
        fits = self.memory is None or size <= self.memory * len(index) / len(self.vectors)
        return Measured(
            name, repr(index.settings), len(index), best.setting, round(best.recall, 4), round(us, 2),
            build_s, size, bool(reached) and fits,
        )  # fmt: skip

    def kth_scores(self, exact: Index) -> np.ndarray:
        """Return the score (q, 1) of the k-th best item of each query, less the error of float32 sums."""
        last = exact.search(self.queries, min(K, len(exact))).scores[:, -1:]
        lowered: np.ndarray = last - TOLERANCE * np.abs(last)
        return lowered
