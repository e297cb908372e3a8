"""Exact search: every answer is the true k best; there is nothing to tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.metric import METRICS
from segue.index.neighbors import (
    Neighbors,
    check_allow,
    check_exclude,
    check_k,
    check_vectors,
    fixed,
)
from segue.kernels import scan, threads
from segue.progress import Progress, silent

BLOCK = 1 << 22  # scores that are held at a time
NOTHING_ALLOWED = np.empty((0, 0), bool)
NOTHING_EXCLUDED = np.empty(0, np.int32)
NO_OFFSETS = np.empty(0, np.float32)


@dataclass(frozen=True)
class Exact:
    """Exact k-nearest-neighbour search.

    Attributes:
        metric: "dot" (inner product), "cosine", or "euclidean" (scores are negative distances).
    """

    metric: str = "dot"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise SettingError(
                f"Exact(metric={self.metric!r}) must be one of {', '.join(map(repr, METRICS))}"
            )

    def build(self, vectors: np.ndarray) -> ExactIndex:
        """Take vectors (n, dim), finite; raises `DataError` for anything else."""
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        metric = METRICS[self.metric]
        turned = metric.turn(checked)
        return ExactIndex(self, turned, half_squares(turned) if metric.is_distance else NO_OFFSETS)

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ExactIndex:
        """Take back what the index gave with `arrays`."""
        return ExactIndex(self, arrays["vectors"], arrays["offsets"])


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """Vectors (n, dim) float32, turned as the metric wants, whose order is that of q·x - offset.

    `offsets` is (n,) float32 for a distance, and empty where there are none.
    """

    settings: Exact
    vectors: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {"vectors": self.vectors, "offsets": self.offsets}

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        exclude: Any = None,
        allow: Any = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Find the k best items of each query (q, dim) float32.

        `exclude`: CSR queries × items, what each query must not get. `allow`: one bitmap (n,) or one
        per query (q, n) of bool, what may be got. Every query gets min(k, eligible) items; the rest
        of its row is id -1 and score -inf. `effort` changes nothing here.
        """
        k = check_k(k)
        asked = check_vectors(queries, "queries", self.vectors.shape[1])
        count, n = len(asked), len(self)
        left_out = check_exclude(exclude, count, n)
        allowed = check_allow(allow, count, n)
        turned = np.ascontiguousarray(METRICS[self.settings.metric].turn(asked))
        width = min(k, n)
        found = Neighbors(
            np.full((count, k), -1, np.int32),
            np.full((count, k), -np.inf, np.float32),
            np.zeros(count, np.int64),
        )
        slack = self._slack(turned)
        rows = max(1, BLOCK // n)
        for first in range(0, count, rows):
            progress("searching", first, count)
            part = slice(first, min(count, first + rows))
            self._search(turned[part], slack[part], width, left_out, allowed, part, found)
        progress("searching", count, count)
        return found

    def _search(
        self,
        queries: np.ndarray,
        slack: np.ndarray,
        k: int,
        left_out: Any,
        allowed: Any,
        part: slice,
        found: Neighbors,
    ) -> None:
        """Answer a block of queries into its rows of `found`."""
        is_distance = METRICS[self.settings.metric].is_distance
        approximate = queries @ self.vectors.T
        if is_distance:
            approximate -= self.offsets
        size = len(queries)
        indptr, excluded = np.zeros(size + 1, np.int64), NOTHING_EXCLUDED
        if left_out is not None:
            indptr, excluded = left_out.indptr[part.start : part.stop + 1], left_out.indices
        allow = NOTHING_ALLOWED if allowed is None else allowed if len(allowed) == 1 else allowed[part]
        ids, scores = np.empty((size, k), np.int32), np.empty((size, k), np.float32)
        asked, vectors, allow, indptr, excluded = map(fixed, (queries, self.vectors, allow, indptr, excluded))
        examined = found.examined[part]

        def work(start: int, stop: int) -> None:
            scan.select(
                approximate, slack, asked, vectors, is_distance, allow, indptr, excluded,
                start, stop, ids, scores, examined,
            )  # fmt: skip

        threads.run(work, size)
        found.ids[part, :k], found.scores[part, :k] = ids, scores

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """How far the rounding of two sums can set their order apart: (q,) float32.

        A sum of d float32 products is off by at most about d eps |q||x|, in whatever order it is made.
        """
        longest = float(np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64).max()))
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
        is_distance = METRICS[self.settings.metric].is_distance
        sizes = (lengths + longest) ** 2 if is_distance else lengths * longest
        rounding = 2 * (queries.shape[1] + 4) * np.finfo(np.float32).eps
        slack: np.ndarray = rounding * sizes + np.finfo(np.float32).tiny
        return slack.astype(np.float32)


def half_squares(vectors: np.ndarray) -> np.ndarray:
    """|x|²/2 of each row, (n,) float32."""
    squares: np.ndarray = 0.5 * np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return squares.astype(np.float32)
