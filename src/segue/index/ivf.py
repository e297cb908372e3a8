"""IVF: partitions of vectors, of which a search visits only the most promising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from segue.index.allow_list import plan_members
from segue.index.arrays import take_vectors
from segue.index.base import SearchPlan, SearchRequest, VectorIndex
from segue.index.checks import check_integers, check_items, check_metric, check_recall, check_sample
from segue.index.effort import geometric, least_effort
from segue.index.form import chosen_form
from segue.index.ivf_arrays import IVFArrays, build_partitions, restore_partitions
from segue.index.metric import METRICS
from segue.index.partitions import ITERATIONS, UNUSED_OFFSET, encode_centroids, segment_starts
from segue.kernels import ivf, scan, simd
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

REACH = 2.5  # spreads from its centroid within which a partition is expected to hold the best item
MAX_CODE_ERROR = 3.0  # standard deviations of the codes' error to allow for, unless all is searched
MAX_REACH = 6.0  # spreads from its centroid beyond which a partition is skipped, likewise
SAMPLED_QUERIES = 1000  # queries that the probes are chosen by
BATCH = 1024  # queries that visit the partitions together
BUILD_STEPS = ITERATIONS + 2  # k-means, the assignment of all vectors, codes and probes


@dataclass(frozen=True)
class IVF:
    """Inverted file: search in the k-means partitions nearest to the query (Jégou et al. 2011, without PQ).

    Attributes:
        partitions: number of partitions; None: about 5 √n, each of at least 64 vectors.
        probes: number of partitions that a search visits by default; None: as few as reach `recall` on a
            sample of queries.
        metric: "dot" (inner product), "cosine", or "euclidean", whose scores are negative distances.
        recall: the share of the true 10 nearest to reach if `probes` is None.
        seed: random seed of the sample and of the first centroids.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(METRICS)

    partitions: int | None = None
    probes: int | None = None
    metric: str = "dot"
    recall: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)
        check_integers(self, {"partitions": (1, None), "probes": (1, None)}, optional=True)
        check_recall(self)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> IVFIndex:
        """Divide vectors into partitions.

        Args:
            vectors: (n, dim) float32, finite.
            queries: a sample of queries (q, dim) to choose the probes by; None takes some of the vectors and
                excludes each from its own results.
            progress: called with the number of vectors indexed.

        Raises:
            DataError: the vectors or the queries are unusable.
        """
        items = check_items(vectors)
        metric = METRICS[self.metric]
        items = metric.transform(items)
        sample = check_sample(queries, items.shape[1])

        def report(step: int) -> None:
            progress("indexing", len(items) * step // BUILD_STEPS, len(items))

        arrays = build_partitions(items, self.partitions, self.probes, metric.is_distance, self.seed, report)
        index = IVFIndex(self, items, arrays)
        if self.probes is None:
            probes = least_effort(index, sample, len(arrays.centroids), self.recall, SAMPLED_QUERIES)
            index = replace(index, partitions=replace(arrays, probes=np.array([probes])))
        report(BUILD_STEPS)
        return index

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> IVFIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        vectors = take_vectors(arrays)
        is_distance = METRICS[self.metric].is_distance
        return IVFIndex(self, vectors, restore_partitions(arrays, vectors.shape, is_distance))


@dataclass(frozen=True, eq=False)
class IVFIndex(VectorIndex):
    """Vectors (n, dim) float32, transformed for the metric, and their partitions."""

    settings: IVF
    vectors: np.ndarray
    partitions: IVFArrays

    @property
    def probes(self) -> int:
        """Return the number of partitions that a search visits by default."""
        return int(self.partitions.probes[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, **vars(self.partitions)}

    def efforts(self, k: int) -> list[int]:
        """Return numbers of partitions from one to all, each about 1.2 times the previous one."""
        return geometric(1, len(self.partitions.centroids))

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Visit `effort` partitions, or score the members of a short allow list.

        Visiting all partitions is exact. A query that finds fewer than k items visits further partitions; a
        query with an allow list visits more from the start. `examined` counts the items of the visited
        partitions.
        """
        metric = METRICS[self.settings.metric]
        queries = readonly(metric.transform(request.queries))
        members = plan_members(request, self.vectors, queries, metric, BATCH)
        if members is not None:
            return members
        probes, count = request.effort or self.probes, len(self.partitions.centroids)
        if len(request.allow):  # the best of a few items are further apart
            share = max(request.allow.mean(1).min(), 1 / len(self))
            probes = round(probes / np.sqrt(share))
        probes = min(probes, count)
        code_error, reach = 1.0, np.inf
        if probes < count:
            code_error, reach = min(1.0, MAX_CODE_ERROR / self.dim**0.5), MAX_REACH
        arguments = (*self._arguments, probes, code_error, reach, queries, *request.filters)
        return SearchPlan(ivf.search, arguments, BATCH)

    @cached_property
    def _arguments(self) -> tuple[object, ...]:
        """The arguments of the kernel that do not depend on the request."""
        form, partitions = chosen_form(), self.partitions
        is_distance, count = METRICS[self.settings.metric].is_distance, len(partitions.centroids)
        starts = segment_starts(self.dim)
        centroids = encode_centroids(np.ascontiguousarray(partitions.centroids), starts)
        offsets = np.full(len(centroids.half_sq_norms), UNUSED_OFFSET, np.float32)
        offsets[:count] = -REACH * partitions.spreads
        if is_distance:
            offsets[:count] = centroids.half_sq_norms[:count]
        arrays = (
            partitions.codes, partitions.order, self.vectors, partitions.half_sq_norms,
            partitions.bound_table, partitions.block_starts, starts,
            np.maximum(partitions.max_code_norms, centroids.max_code_norms), partitions.axes,
            partitions.center,
        )  # fmt: skip
        unit = float(centroids.bound_table[0, scan.INVERSE])
        return (
            simd.MARKS[form.name], *map(readonly, arrays), float(partitions.rounding[0]),
            *map(readonly, (centroids.codes, offsets, partitions.spreads)), unit, form.top,
            form.int16_accumulate, is_distance,
        )  # fmt: skip
