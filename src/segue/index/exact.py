"""Exact search: returns the true k nearest items; there is nothing to tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from segue.index.allow_list import plan_members
from segue.index.arrays import take_vectors
from segue.index.base import SearchPlan, SearchRequest, VectorIndex
from segue.index.brute_force import MEASURES, BruteForceIndex
from segue.index.checks import check_items, check_metric, check_sample
from segue.index.form import chosen_form
from segue.index.layout import TileLayout, build_layout, restore_layout
from segue.index.metric import METRICS
from segue.kernels import scan, simd, threads
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

CALLS = 16  # kernel calls by each thread, about
MAX_GROUPS = 8  # groups of queries in one kernel call


@dataclass(frozen=True)
class Exact:
    """Exact k-nearest-neighbor search.

    Attributes:
        metric: "dot" (inner product), "cosine", or one of the distances "euclidean", "manhattan" and
            "hamming" (of vectors of 0 and 1). Scores of distances are negative.
    """

    METRICS: ClassVar[tuple[str, ...]] = (*METRICS, *MEASURES)

    metric: str = "dot"

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> VectorIndex:
        """Return an `ExactIndex` or, for "manhattan" and "hamming", a `BruteForceIndex`.

        Args:
            vectors: (n, dim) float32, finite.
            queries: a sample of queries (q, dim) to choose the layout by; None takes some of the vectors.
                Results do not depend on it, speed does.
            progress: called with the number of vectors indexed.

        Raises:
            DataError: the vectors or the queries are unusable.
        """
        items = check_items(vectors)
        progress("indexing", 0, len(items))
        index = self._build(items, queries)
        progress("indexing", len(items), len(items))
        return index

    def _build(self, items: np.ndarray, queries: np.ndarray | None) -> VectorIndex:
        if self.metric in MEASURES:
            return BruteForceIndex.build(self, items)
        metric = METRICS[self.metric]
        items = metric.transform(items)
        sample = check_sample(queries, items.shape[1])
        sample = items if sample is None else metric.transform(sample)
        return ExactIndex(self, items, build_layout(items, sample, metric.is_distance))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> VectorIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        if self.metric in MEASURES:
            return BruteForceIndex.from_arrays(self, arrays)
        vectors = take_vectors(arrays)
        return ExactIndex(self, vectors, restore_layout(arrays, vectors.shape))


@dataclass(frozen=True, eq=False)
class ExactIndex(VectorIndex):
    """Vectors (n, dim) float32, transformed for the metric, and their layout for the scan."""

    settings: Exact
    vectors: np.ndarray
    layout: TileLayout

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, **vars(self.layout)}

    def efforts(self, k: int) -> list[int]:
        """Return no efforts: exact search has no dial."""
        return []

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Scan all tiles, or score the members of a short allow list."""
        metric = METRICS[self.settings.metric]
        queries = readonly(metric.transform(request.queries))
        batch = _batch(len(queries))
        members = plan_members(request, self.vectors, queries, metric, batch)
        return members or SearchPlan(scan.search, (*self._arguments, queries, *request.filters), batch)

    @cached_property
    def _arguments(self) -> tuple[object, ...]:
        """The arguments of the kernel that do not depend on the request."""
        form, layout = chosen_form(), self.layout
        arrays = (
            layout.codes, layout.order, self.vectors, layout.bound_table, layout.tile_means,
            layout.segment_starts, layout.max_code_norms, layout.axes, layout.center,
        )  # fmt: skip
        return (
            simd.MARKS[form.name], *map(readonly, arrays), float(layout.rounding[0]), form.top,
            form.int16_accumulate, METRICS[self.settings.metric].is_distance,
        )  # fmt: skip


def _batch(count: int) -> int:
    """Return how many of the queries a thread takes at a time: few calls, and threads that end together."""
    groups = count // (scan.TOGETHER * CALLS)
    return scan.TOGETHER * min(max(groups // threads.available(), 1), MAX_GROUPS) if groups else scan.TOGETHER
